"""The keys that tokens are checked with: a file, read again when it has changed.

What a file holds is told by its content: a JSON Web Key Set, PEM public keys one after the other, or,
where it is neither, one shared secret. What a key may be used for follows from its type alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.errors import ConfigError

LOOK_EVERY_S: Final = 2.0
"""How often it is looked whether the file has changed."""

LARGEST_FILE: Final = 1024 * 1024
MOST_KEYS: Final = 100
SHORTEST_SECRET_BYTES: Final = 32
SHORTEST_RSA_BITS: Final = 2048

_HMAC: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""With the bytes that a secret needs at least: as long as the digest."""
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OF_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_EDWARDS: Final = ("EdDSA",)
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)

_log = logging.getLogger("taskrunner.access")


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key, and the algorithms that fit its type."""

    key: Any = field(repr=False)
    algorithms: tuple[str, ...]
    name: str | None = None
    """its `kid`"""


class KeyFile:
    """Keys in a file. Thread-safe."""

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: tuple[VerifyingKey, ...] = ()
        self._seen: object = None
        self._looked_at = -LOOK_EVERY_S

    def load(self) -> None:
        """Read the file now. Raises ConfigError, which names the file and never what is in it."""
        with self._lock:
            self._looked_at = self._clock.monotonic()
            self._seen = self._mark()
            self._keys = read_keys(self._path)

    def current(self) -> Sequence[VerifyingKey]:
        """The keys there are now. A file that has become unreadable changes nothing, but for a
        warning: whoever replaces it may be half-way."""
        now = self._clock.monotonic()
        with self._lock:
            if now - self._looked_at < LOOK_EVERY_S:
                return self._keys
            self._looked_at = now
            mark = self._mark()
            if mark == self._seen:
                return self._keys
            self._seen = mark
            try:
                self._keys = read_keys(self._path)
                _log.info("read %d keys for tokens again", len(self._keys))
            except ConfigError as error:
                _log.warning("the keys for tokens stay as they were: %s", error)
            return self._keys

    def _mark(self) -> object:
        """Something that is another when the file is."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            return type(error)
        return found.st_mtime_ns, found.st_size, found.st_ino


def read_keys(path: Path) -> tuple[VerifyingKey, ...]:
    """The keys in a file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"it is larger than {LARGEST_FILE} bytes")
        keys = tuple(_keys_in(content))
        if not keys:
            raise ValueError("there is no key in it that signs tokens")
        if len(keys) > MOST_KEYS:
            raise ValueError(f"there are {len(keys)} keys in it, and {MOST_KEYS} are the most")
    except OSError as error:
        raise ConfigError([f"the keys for tokens, {path}: {error.strerror}"]) from error
    except ValueError as error:
        raise ConfigError([f"the keys for tokens, {path}: {error}"]) from error
    return keys


def _keys_in(content: bytes) -> Iterator[VerifyingKey]:
    text = content.strip()
    if text.startswith(b"{"):
        yield from _from_jwks(text)
    elif b"-----BEGIN" in text:
        yield from _from_pem(text)
    else:
        yield _secret(text)


def _secret(secret: bytes) -> VerifyingKey:
    if len(secret) < SHORTEST_SECRET_BYTES:
        raise ValueError(f"a shared secret needs {SHORTEST_SECRET_BYTES} bytes or more")
    return VerifyingKey(secret, tuple(one for one, size in _HMAC.items() if len(secret) >= size))


# -- PEM


def _from_pem(text: bytes) -> Iterator[VerifyingKey]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    for block in _PEM.finditer(text):
        what = block[1].decode("ascii")
        if "PRIVATE" in what:
            raise ValueError("there is a private key in it: give the service the public one")
        try:
            yield _public(load_pem_public_key(block[0]))
        except UnsupportedAlgorithm as error:
            raise ValueError(f"a key in it cannot be used: {error}") from error


def _public(key: Any) -> VerifyingKey:
    """A public key with the algorithms of its type."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < SHORTEST_RSA_BITS:
            raise ValueError(
                f"an RSA key in it has {key.key_size} bits: {SHORTEST_RSA_BITS} or more"
            )
        return VerifyingKey(key, _RSA)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _OF_CURVES:
        return VerifyingKey(key, (_OF_CURVES[key.curve.name],))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return VerifyingKey(key, _EDWARDS)
    raise ValueError("a key in it is none of RSA, P-256, P-384, P-521 and Ed25519")


# -- JSON Web Keys


def _from_jwks(text: bytes) -> Iterator[VerifyingKey]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it begins like JSON and is none") from error
    entries = found.get("keys")
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ValueError('expected a JSON Web Key Set, as in {"keys": [{"kty": …}]}')
    for place, entry in enumerate(entries, 1):
        # A set may hold keys for other uses, and of types that nobody here knows.
        if entry.get("use", "sig") == "sig" and entry.get("kty") in ("RSA", "EC", "OKP", "oct"):
            key = _from_jwk(place, entry)
            if key.algorithms:
                yield key


def _from_jwk(place: int, entry: Mapping[str, Any]) -> VerifyingKey:
    """One key of a set; where it says an algorithm, for this one only, if it fits its type."""
    from jwt import PyJWK, PyJWTError

    if entry["kty"] != "oct" and "d" in entry:
        raise ValueError(f"key {place} is a private one: give the service the public one")
    said = {name: value for name, value in entry.items() if name != "alg"}
    try:
        raw = PyJWK.from_dict(said).key
    except (PyJWTError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"key {place} cannot be used: {type(error).__name__}") from error
    key = _secret(raw) if entry["kty"] == "oct" else _public(raw)
    fitting, name = key.algorithms, entry.get("kid")
    if "alg" in entry:
        fitting = tuple(one for one in fitting if one == entry["alg"])
    return VerifyingKey(key.key, fitting, None if name is None else str(name))
