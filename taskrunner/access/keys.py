"""What an API key is, how it is kept, and how one that is shown is told from a forged one. Pure.

    trk_3kq0x9w2mzbd_Yx…43 characters…   what its owner has
        id           256 random bits     shown once; nobody keeps it

    record of that id: name, scopes, patterns, times, salt, and a digest over the secret and all of
    that. With a server-side secret (`api_key_secret`) the digest is an HMAC under it: whoever can
    write into the store, but does not know that secret, can neither make a key nor give one more
    rights. Without, it is an HMAC under the salt.

What may still change after a key was made, and shortens its life at most, stands beside the digest.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import NoneType
from typing import Any, Final

import msgpack

from taskrunner.access.identity import EVERYTHING, Identity, Kind
from taskrunner.access.scopes import Scope
from taskrunner.errors import MessageError

PREFIX: Final = "trk_"
"""What every key begins with: leaked ones are found by it."""

_KEY: Final = re.compile(r"trk_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH: Final = 12
_VERSION: Final = 1
_SALT_BYTES: Final = 16
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "bytes": (bytes,),
    "bool": (bool,),
    "float": (float, int),
    "float | None": (float, int, NoneType),
    "tuple[str, ...]": (tuple,),
    "frozenset[Scope]": (frozenset,),
}
"""What a field of a stored key may hold, by its annotation."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A key as its owner shows it."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"<API key {self.id}>"

    @classmethod
    def parse(cls, text: str) -> Shown | None:
        """The parts of a key; None for what is none."""
        found = _KEY.fullmatch(text)
        return None if found is None else cls(found[1], found[2])

    @classmethod
    def new(cls) -> Shown:
        key_id = "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))
        return cls(key_id, secrets.token_urlsafe(32))

    @property
    def text(self) -> str:
        return f"{PREFIX}{self.id}_{self.secret}"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key as the store keeps it. Moments in seconds since the epoch."""

    id: str
    name: str
    scopes: frozenset[Scope]
    queues: tuple[str, ...] = EVERYTHING
    tasks: tuple[str, ...] = EVERYTHING
    created_at: float = 0.0
    expires_at: float | None = None
    rotated_from: str = ""
    """the id of the key that this one takes the place of"""
    is_keyed: bool = False
    """made under a server-side secret"""
    salt: bytes = b""
    digest: bytes = b""
    retires_at: float | None = None
    """when another key takes its place"""
    revoked_at: float | None = None

    def sealed(self, shown: Shown, pepper: bytes | None) -> StoredKey:
        """The same, so that this secret opens it. `pepper` is the server-side secret."""
        salted = replace(
            self, salt=secrets.token_bytes(_SALT_BYTES), is_keyed=pepper is not None, digest=b""
        )
        return replace(salted, digest=salted.digest_of(shown, pepper))

    def opens(self, shown: Shown, pepper: bytes | None) -> bool:
        """Whether this is the key that was made, with the rights it was made with.

        Takes as long for a wrong secret as for the right one. Where there is a server-side secret, a
        key that was made without one opens nothing.
        """
        expected = self.digest_of(shown, pepper)
        return hmac.compare_digest(expected, self.digest) and self.is_keyed is (pepper is not None)

    def digest_of(self, shown: Shown, pepper: bytes | None) -> bytes:
        fixed = [
            _VERSION,
            self.id,
            self.name,
            sorted(scope.value for scope in self.scopes),
            list(self.queues),
            list(self.tasks),
            self.created_at,
            self.expires_at,
            self.rotated_from,
            self.salt,
            shown.id,
            shown.secret,
        ]
        return hmac.new(pepper or self.salt, msgpack.packb(fixed), hashlib.sha256).digest()

    @property
    def ends_at(self) -> float | None:
        """When it is of no more use, by all that is known; None: never."""
        ends = (self.expires_at, self.retires_at, self.revoked_at)
        return min((end for end in ends if end is not None), default=None)

    def is_valid(self, now: float) -> bool:
        return self.ends_at is None or now < self.ends_at

    def standing(self, now: float) -> str:
        """In a word: active, retiring, expired, rotated or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        if self.retires_at is not None:
            return "retiring" if now < self.retires_at else "rotated"
        return "active"

    @property
    def identity(self) -> Identity:
        """Whom this key stands for."""
        return Identity(
            name=self.name,
            kind=Kind.KEY,
            scopes=self.scopes,
            queues=self.queues,
            tasks=self.tasks,
            id=self.id,
            expires_at=self.ends_at,
        )

    # -- as bytes

    def pack(self) -> bytes:
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        values |= {"v": _VERSION, "scopes": sorted(scope.value for scope in self.scopes)}
        return bytes(msgpack.packb(values))

    @classmethod
    def unpack(cls, key_id: str, packed: bytes) -> StoredKey:
        """The key in a record. Raises MessageError for a record that holds none."""
        try:
            values: Mapping[str, Any] = msgpack.unpackb(packed)
            if values["v"] != _VERSION or values["id"] != key_id:
                raise ValueError(f"of version {values['v']}, for {values['id']}")
            own = {name: values[name] for name in cls.__slots__ if name in values}
            own["scopes"] = frozenset(Scope(word) for word in values["scopes"])
            own |= {name: tuple(values[name]) for name in ("queues", "tasks")}
            return _typed(cls(**own))
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            raise MessageError(f"the record of API key {key_id} cannot be read: {error}") from error


def _typed(key: StoredKey) -> StoredKey:
    """The key, or TypeError where a field holds what it cannot: it would be found out only when
    somebody shows the key."""
    for field in fields(key):
        value, kinds = getattr(key, field.name), _KINDS[str(field.type)]
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds != (bool,)):
            raise TypeError(f"{field.name} is {value!r:.100}")
    if not all(isinstance(pattern, str) for pattern in (*key.queues, *key.tasks)):
        raise TypeError("a pattern that is no text")
    return key
