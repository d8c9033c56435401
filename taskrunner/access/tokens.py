"""Bearer tokens that somebody else has signed (JWT, RFC 7519), and the identities in their claims.

    token ─▶ header: one of our algorithms? ─▶ keys of just that type ─▶ signature ─▶ claims ─▶ Identity

PyJWT checks signatures and times; what may be checked with which key is decided here, by the type of the
key and never by the token: a public key is no shared secret, whatever a header says. Headers that name
a key's place (`jku`, `x5u`, `jwk`) are not followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskrunner.access.identity import Identity, Kind, patterns
from taskrunner.access.keyfile import KeyFile, VerifyingKey
from taskrunner.access.scopes import Scope
from taskrunner.errors import ConfigError, NotAuthenticated, OptionError

LONGEST_TOKEN: Final = 16 * 1024
LATEST: Final = 253_402_300_799
"""The last second of the year 9999."""
QUEUES_CLAIM: Final = "taskrunner_queues"
TASKS_CLAIM: Final = "taskrunner_tasks"
_SCOPES: Final = {scope.value: scope for scope in Scope}


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Whose tokens are taken. `leeway` in seconds, for clocks that differ."""

    issuer: str
    audience: str
    leeway: float = 30.0


class Tokens:
    """Recognises tokens. Raises ConfigError, at once, for keys that cannot be used, and where PyJWT
    is not installed."""

    def __init__(self, keys: KeyFile, rules: TokenRules) -> None:
        try:
            import jwt
        except ImportError as error:
            raise ConfigError(
                [
                    "JWT needs PyJWT: install the extra api, as in pip install 'taskrunner-queue[api]'"
                ]
            ) from error
        self._jwt = jwt
        self._keys = keys
        self._rules = rules
        keys.load()

    def identify(self, text: str) -> Identity:
        """Whose token this is. Asks nobody. Raises NotAuthenticated, saying what is wrong with
        it, but nothing of its content."""
        header = self._header(text)
        refused = NotAuthenticated("the token was not signed with one of the keys that are known")
        for key in self._candidates(header):
            try:
                claims = self._claims(text, key)
            except self._jwt.InvalidSignatureError as error:
                refused.__cause__ = error
            # Beside its own errors PyJWT lets through what times of impossible sizes make.
            except (self._jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
                raise NotAuthenticated(_reason(error)) from error
            else:
                return _identity(claims)
        raise refused

    def _header(self, text: str) -> Mapping[str, Any]:
        if len(text) > LONGEST_TOKEN:
            raise NotAuthenticated(f"the token is longer than {LONGEST_TOKEN} characters")
        try:
            header: Mapping[str, Any] = self._jwt.get_unverified_header(text)
        except (self._jwt.PyJWTError, ValueError, RecursionError) as error:
            raise NotAuthenticated("this is not a token") from error
        if "crit" in header:
            raise NotAuthenticated("the token asks for extensions that nobody here knows")
        return header

    def _candidates(self, header: Mapping[str, Any]) -> list[VerifyingKey]:
        """The keys that may have signed it: fit for its algorithm, and of its name if it has one."""
        algorithm, name = header.get("alg"), header.get("kid")
        fitting = [key for key in self._keys.current() if algorithm in key.algorithms]
        if not fitting:
            raise NotAuthenticated("the token's algorithm is none that is accepted here")
        if name is None:
            return fitting
        return [key for key in fitting if key.name in (None, name)]

    def _claims(self, text: str, key: VerifyingKey) -> Mapping[str, Any]:
        claims: Mapping[str, Any] = self._jwt.decode(
            text,
            key.key,
            algorithms=list(key.algorithms),
            audience=self._rules.audience,
            issuer=self._rules.issuer,
            leeway=self._rules.leeway,
            options={"require": ["exp", "sub", "iss", "aud"]},
        )
        return claims


def _reason(error: Exception) -> str:
    """What was wrong, by the kind of the error: its text may hold what the token says."""
    return _REASONS.get(type(error).__name__, "the token is not valid")


_REASONS: Final = {
    "ExpiredSignatureError": "the token has expired",
    "ImmatureSignatureError": "the token is not valid yet",
    "InvalidAudienceError": "the token is for another audience",
    "InvalidIssuerError": "the token is of another issuer",
    "MissingRequiredClaimError": "the token lacks one of the claims exp, sub, iss and aud",
    "InvalidIssuedAtError": "the token's times make no sense",
    "DecodeError": "this is not a token",
}


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject = claims["sub"]
    name = claims.get("name")
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or not subject.isprintable():
        raise NotAuthenticated("the token's subject is not a printable name")
    try:
        queues = patterns("queue", _words(claims, QUEUES_CLAIM))
        tasks = patterns("task", _words(claims, TASKS_CLAIM))
    except OptionError as error:
        raise NotAuthenticated(f"a claim of the token is wrong: {error}") from error
    is_name = isinstance(name, str) and name.isprintable() and 1 <= len(name) <= 100
    return Identity(
        name=str(name) if is_name else subject,
        kind=Kind.TOKEN,
        scopes=frozenset(_scopes(claims)),
        queues=queues,
        tasks=tasks,
        id=subject,
        expires_at=float(min(int(claims["exp"]), LATEST)),
    )


def _scopes(claims: Mapping[str, Any]) -> Iterable[Scope]:
    """Those of ours among its scopes: the same token may be for other services too."""
    return (
        _SCOPES[word]
        for claim in ("scope", "scp")
        for word in _words(claims, claim)
        if word in _SCOPES
    )


def _words(claims: Mapping[str, Any], claim: str) -> list[str]:
    """A claim that is text with spaces in it, or a list of texts. Raises NotAuthenticated, also for
    one that is there and empty: nothing is not everything."""
    if claim not in claims:
        return []
    value = claims[claim]
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise NotAuthenticated(f"the token's claim {claim} is neither text nor a list of texts")
    if not words and claim in (QUEUES_CLAIM, TASKS_CLAIM):
        raise NotAuthenticated(f"the token's claim {claim} is empty")
    return list(words)
