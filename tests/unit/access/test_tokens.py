from __future__ import annotations

import base64
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import algorithms

from taskrunner.access import Identity, Kind, Scope
from taskrunner.access.keyfile import LOOK_EVERY_S, KeyFile
from taskrunner.access.tokens import TokenRules, Tokens
from taskrunner.errors import ConfigError, NotAuthenticated
from taskrunner.testing.clock import FakeClock

RULES = TokenRules(issuer="https://id.example", audience="taskrunner", leeway=30)
SECRET = "x" * 64
KINDS = ["HS256", "HS512", "RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"]


@cache
def private(algorithm: str, number: int = 0) -> Any:
    match algorithm[:2]:
        case "HS":
            return SECRET + str(number)
        case "RS" | "PS":
            return rsa.generate_private_key(65537, 2048)
        case "ES":
            curves: dict[str, Any] = {
                "ES256": ec.SECP256R1,
                "ES384": ec.SECP384R1,
                "ES512": ec.SECP521R1,
            }
            return ec.generate_private_key(curves[algorithm]())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public(key: Any) -> bytes:
    if isinstance(key, str):
        return key.encode()
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(encoding, form))


def as_jwk(key: Any, **more: str) -> dict[str, Any]:
    if isinstance(key, str):
        value = base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode()
        return {"kty": "oct", "k": value, **more}
    kind = {
        rsa.RSAPrivateKey: algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: algorithms.ECAlgorithm,
    }
    algorithm: Any = next(
        (kind[one] for one in kind if isinstance(key, one)), algorithms.OKPAlgorithm
    )
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **more}


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    fair = {
        "iss": RULES.issuer,
        "aud": RULES.audience,
        "sub": "alice",
        "exp": now + 600,
        "scope": "jobs:read openid",
    }
    return {name: value for name, value in {**fair, **more}.items() if value is not None}


def signed(algorithm: str = "ES256", *, headers: Any = None, key: Any = None, **more: Any) -> str:
    key = private(algorithm) if key is None else key
    return jwt.encode(claims(**more), key, algorithm, headers=headers)


def by_hand(header: Any, payload: Any, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class Reader:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys"
        self.clock = FakeClock()

    def write(self, content: bytes | dict[str, Any]) -> None:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        # Replaced as a whole, as whoever rotates keys does.
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(text)
        os.replace(fresh, self.path)

    def tokens(self, content: bytes | dict[str, Any]) -> Tokens:
        self.write(content)
        return Tokens(KeyFile(self.path, clock=self.clock), RULES)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


@pytest.mark.parametrize("algorithm", KINDS)
@pytest.mark.parametrize("form", ["plain", "jwks"])
def test_each_kind_of_key_in_each_kind_of_file(reader: Reader, algorithm: str, form: str) -> None:
    key = private(algorithm)
    tokens = reader.tokens(public(key) if form == "plain" else {"keys": [as_jwk(key)]})
    found = tokens.identify(signed(algorithm))
    assert (found.name, found.kind, found.scopes) == ("alice", Kind.TOKEN, frozenset({Scope.READ}))
    with pytest.raises(NotAuthenticated, match="not signed with"):
        tokens.identify(signed(algorithm, key=private(algorithm, 1)))


def test_claims_say_what_it_may(reader: Reader) -> None:
    tokens = reader.tokens(public(private("ES256")))
    text = signed(
        scope=None,
        scp=["jobs:submit", "jobs:manage", "other:thing"],
        name="Alice A.",
        taskrunner_queues="mail* x",
        taskrunner_tasks=["shop.*"],
        exp=4_000_000_000,
    )
    assert tokens.identify(text) == Identity(
        "Alice A.",
        Kind.TOKEN,
        frozenset({Scope.SUBMIT, Scope.MANAGE}),
        ("mail*", "x"),
        ("shop.*",),
        "alice",
    )
    assert tokens.identify(text).expires_at == 4_000_000_000
    assert tokens.identify(signed(scope=None)).scopes == frozenset()
    assert tokens.identify(signed(exp=10**400)), "as good as for ever"


NOW = int(time.time())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"exp": NOW - 100}, "has expired"),
        ({"exp": None}, "lacks one of the claims"),
        ({"exp": "soon"}, "not a token|not valid"),
        ({"exp": float("inf")}, "not a token|not valid"),
        ({"exp": float("nan")}, "not a token|not valid"),
        ({"nbf": NOW + 86_400}, "not valid yet"),
        ({"iat": NOW + 86_400}, "not valid yet"),
        ({"iat": "x"}, "make no sense"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "lacks one of the claims"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "lacks one of the claims"),
        ({"sub": None}, "lacks one of the claims"),
        ({"sub": "a\nb"}, "subject"),
        ({"sub": ""}, "subject"),
        ({"taskrunner_queues": []}, "taskrunner_queues is empty"),
        ({"taskrunner_queues": "  "}, "taskrunner_queues is empty"),
        ({"taskrunner_queues": 5}, "neither text nor a list"),
        ({"taskrunner_tasks": [5]}, "neither text nor a list"),
        ({"taskrunner_tasks": ["*" * 9]}, "claim of the token is wrong"),
        ({"scope": {"a": 1}}, "neither text nor a list"),
    ],
)
def test_claims_that_let_nobody_in(reader: Reader, change: dict[str, Any], says: str) -> None:
    tokens = reader.tokens(public(private("ES256")))
    with pytest.raises(NotAuthenticated, match=says):
        tokens.identify(signed(**change))


def test_clocks_may_differ_by_the_leeway(reader: Reader) -> None:
    tokens = reader.tokens(public(private("ES256")))
    assert tokens.identify(signed(exp=int(time.time()) - 5, nbf=int(time.time()) + 5))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 5, ["ES256"], "HS256", "XX"])
def test_an_algorithm_that_does_not_fit_the_key(reader: Reader, alg: Any) -> None:
    tokens = reader.tokens(public(private("ES256")))
    with pytest.raises(NotAuthenticated):
        tokens.identify(by_hand({"alg": alg, "typ": "JWT"}, claims()))


def test_a_public_key_is_no_shared_secret(reader: Reader) -> None:
    """The old trick: sign by HMAC, with the public key that everybody knows as the secret."""
    import hashlib
    import hmac

    for content in (public(private("RS256")), {"keys": [as_jwk(private("RS256"))]}):
        tokens = reader.tokens(content)
        body = by_hand({"alg": "HS256", "typ": "JWT"}, claims()).rpartition(".")[0]
        mac = hmac.new(public(private("RS256")), body.encode(), hashlib.sha256).digest()
        forged = f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        with pytest.raises(NotAuthenticated, match="algorithm"):
            tokens.identify(forged)


def test_a_key_is_used_for_its_own_algorithm_alone(reader: Reader) -> None:
    key = private("RS256")
    tokens = reader.tokens({"keys": [as_jwk(key, alg="RS256")]})
    assert tokens.identify(signed("RS256"))
    with pytest.raises(NotAuthenticated, match="algorithm"):
        tokens.identify(signed("RS512", key=key))


def test_keys_have_names(reader: Reader) -> None:
    short = "s" * 40
    assert reader.tokens(short.encode()).identify(signed("HS256", key=short))
    one, two = private("ES256"), private("ES256", 1)
    tokens = reader.tokens({"keys": [as_jwk(one, kid="one"), as_jwk(two, kid="two")]})
    assert tokens.identify(signed(headers={"kid": "one"}))
    assert tokens.identify(signed(key=two, headers={"kid": "two"}))
    assert tokens.identify(signed(key=two))
    for wrong in ("two", "three"):
        with pytest.raises(NotAuthenticated, match="not signed with"):
            tokens.identify(signed(headers={"kid": wrong}))


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b.c", "a.b.c.d.e", "e30.e30.", "." * 100, "ey" * 9000, "ey\x00.ü.x"],
)
def test_what_is_no_token(reader: Reader, text: str) -> None:
    tokens = reader.tokens(public(private("ES256")))
    with pytest.raises(NotAuthenticated):
        tokens.identify(text)


def test_extensions_and_keys_that_a_token_brings_along_are_refused(reader: Reader) -> None:
    tokens = reader.tokens(public(private("ES256")))
    with pytest.raises(NotAuthenticated, match=r"extensions|not a token"):
        tokens.identify(signed(headers={"crit": ["exp"]}))
    own = private("ES256", 7)
    with pytest.raises(NotAuthenticated, match="not signed"):
        tokens.identify(
            signed(key=own, headers={"jwk": as_jwk(own), "jku": "https://evil.example"})
        )


def test_the_file_is_read_again_when_it_has_changed(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = private("ES256"), private("ES256", 1)
    tokens = reader.tokens(public(old))
    reader.write(public(old) + public(new))
    with pytest.raises(NotAuthenticated):
        tokens.identify(signed(key=new))
    reader.clock.advance(LOOK_EVERY_S)
    assert tokens.identify(signed(key=new))
    reader.write(public(new))
    reader.clock.advance(LOOK_EVERY_S)
    with pytest.raises(NotAuthenticated):
        tokens.identify(signed(key=old))
    for broken in (b"", b'{"keys": 5}'):
        reader.write(broken)
        reader.clock.advance(LOOK_EVERY_S)
        assert tokens.identify(signed(key=new)), "what was right goes on"
        assert "stay as they were" in caplog.text
    reader.path.unlink()
    reader.clock.advance(LOOK_EVERY_S)
    assert tokens.identify(signed(key=new))


def private_pem() -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    none = serialization.NoEncryption()
    return bytes(private("ES256").private_bytes(encoding, form, none))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"short", "32 bytes"),
        (b"", "32 bytes"),
        (b'{"keys": []}', "no key in it"),
        (b'{"keys": [5]}', "JSON Web Key Set"),
        (b'{"a": 1}', "JSON Web Key Set"),
        (b"{nothing", "begins like JSON"),
        (b'{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}', "bits|cannot be used"),
        (b'{"keys": [{"kty": "EC", "crv": "P-256"}]}', "key 1 cannot be used"),
        (b'{"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}', "32 bytes"),
        (b'{"keys": [{"kty": "OKP", "d": "x"}]}', "private"),
        (b'{"keys": [{"kty": "EC", "use": "enc"}]}', "no key in it"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "keys for tokens"),
        (b"x" * (2 << 20), "larger than"),
    ],
)
def test_files_that_cannot_be_used(reader: Reader, content: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        reader.tokens(content)
    assert str(reader.path) in str(caught.value)


def test_a_private_key_in_the_file_is_refused(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the service the public one"):
        reader.tokens(private_pem())
    with pytest.raises(ConfigError, match="No such file"):
        Tokens(KeyFile(tmp_path / "nothing"), RULES)
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(ConfigError, match="1024 bits"):
        reader.tokens(public(weak))
