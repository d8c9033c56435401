"""Keys, and what they do to bytes: AES-256-GCM where they shall be secret, HMAC-SHA256 where they
shall only be unaltered. What of a job goes through here `seals` knows.

    encrypted = salt (12 bytes) · number (4) · ciphertext · tag (16)
    signature = 32 bytes

A ring has several keys: the first one is used for what is new, all of them for what is there.

No nonce is used twice under one key: each process (each fork, too) draws a random salt, derives a
key of its own from it, and numbers what it encrypts; after 2^32 it draws another. Salts of 96 bits
collide for certain only after some 2^48 processes, whatever each of them encrypts, so a key need not
be changed for having been used much. A signature is made with a derived key as well, so that the same
secret may stand in both rings.

Only `encryption_keys` need the library `cryptography`, and import it when they are first used.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import itertools
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from taskrunner.errors import ConfigError, CryptoError

SECRET_BYTES: Final = 32
SALT_BYTES: Final = 12
NUMBER_BYTES: Final = 4
TAG_BYTES: Final = 16
SIGNATURE_BYTES: Final = 32
MOST_PER_SALT: Final = 2 ** (8 * NUMBER_BYTES)
SENDERS_KEPT: Final = 1024
"""Keys of other processes that are kept at hand, for each key of a ring."""

FILE: Final = "file:"
ACCEPTED: Final = (
    "keys as `taskrunner new-key` makes them, ID:SECRET with a secret of 32 bytes in base64 or hex, "
    "or file:PATH, separated by commas; the first one encrypts or signs"
)
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_ZEROS: Final = bytes(12 - NUMBER_BYTES)
_FOR_ID: Final = b"taskrunner key id"
_FOR_ENCRYPTION: Final = b"taskrunner aes-256-gcm "
_FOR_SIGNATURES: Final = b"taskrunner hmac-sha256"
_FOR_FINGERPRINTS: Final = b"taskrunner fingerprint"


@dataclass(frozen=True, slots=True)
class Key:
    """A secret of 32 bytes, and the name by which what it protects says that it did."""

    id: str
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, name: str = "") -> Key:
        """A random one. Raises ValueError for a name that no key can have."""
        return cls._of(name, os.urandom(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str | bytes) -> Key:
        """Read `ID:SECRET`, or a secret alone, which then gives the key its id. Raises ValueError,
        without the secret in it."""
        if isinstance(text, bytes):
            return cls._of("", text)
        name, colon, secret = text.strip().rpartition(":")
        if colon and not name:
            raise ValueError("a key without an id before its colon")
        return cls._of(name, _secret(secret))

    @classmethod
    def _of(cls, name: str, secret: bytes) -> Key:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"a secret of {len(secret)} bytes instead of {SECRET_BYTES}")
        if name and not _ID.fullmatch(name):
            raise ValueError("a key's id is 1 to 32 letters, digits and - _ .")
        return cls(name or hmac.digest(secret, _FOR_ID, "sha256").hex()[:8], secret)

    @property
    def text(self) -> str:
        """What `parse` reads."""
        return f"{self.id}:{base64.urlsafe_b64encode(self.secret).decode()}"

    def derived(self, purpose: bytes) -> bytes:
        """Another secret of 32 bytes, from which this one cannot be learnt."""
        return hmac.digest(self.secret, purpose, "sha256")


def _secret(text: str) -> bytes:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    try:
        plain = text.replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a secret that is neither base64 nor hex") from None


def keys_of(value: Any) -> tuple[str, ...]:
    """The keys that a setting names, each as `Key.text`, files read. Raises ValueError with a
    sentence that says what is wrong, without any secret in it; TypeError for what names no keys."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise TypeError
    found = list(itertools.chain.from_iterable(map(_named, parts)))
    for what, seen in (
        ("the same id", [key.id for key in found]),
        ("the same secret", [key.secret for key in found]),
    ):
        if len(set(seen)) < len(seen):
            raise ValueError(f"two keys have {what}")
    return tuple(key.text for key in found)


def _named(part: Any) -> Iterable[Key]:
    if not isinstance(part, (str, bytes)):
        raise TypeError
    if isinstance(part, str) and part.strip().startswith(FILE):
        return _from_file(Path(part.strip().removeprefix(FILE)).expanduser())
    return [Key.parse(part)] if part.strip() else []


def _from_file(path: Path) -> list[Key]:
    """One key on each line; what follows a # is not read."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"the key file {path} cannot be read: {reason}") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ValueError(
            f"the key file {path} has the mode {mode:04o}, so that others may use it: expected "
            "0600, or 0640 at most"
        )
    found = [text for line in lines if (text := line.partition("#")[0].strip())]
    if not found:
        raise ValueError(f"the key file {path} has no key in it")
    try:
        return [Key.parse(text) for text in found]
    except ValueError as error:
        raise ValueError(f"the key file {path}: {error}") from None


class _Sender(NamedTuple):
    """What one process encrypts with."""

    pid: int
    salt: bytes
    numbers: Iterator[int]
    cipher: Any


class EncryptionRing:
    """Encrypts with its first key, decrypts with all. Thread-safe, and safe across forks.

    Raises ConfigError where the library is missing.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._make = _aes_gcm()
        self.first = keys[0]
        self._keys = {key.id: key for key in keys}
        self._readers: dict[tuple[str, bytes], Any] = {}
        self._lock = threading.Lock()
        self._sender: _Sender | None = None

    def encrypt(self, plain: bytes, place: bytes) -> bytes:
        """With the first key, for this place and no other."""
        sender = self._sender
        if sender is None or sender.pid != os.getpid():
            sender = self._new_sender(sender)
        number = next(sender.numbers)
        if number >= MOST_PER_SALT:
            self._new_sender(sender)
            return self.encrypt(plain, place)
        tail = number.to_bytes(NUMBER_BYTES, "big")
        sealed: bytes = sender.cipher.encrypt(_nonce(tail), plain, place)
        return sender.salt + tail + sealed

    def decrypt(self, key_id: str, sealed: bytes, place: bytes) -> bytes:
        """What was encrypted for this place. Raises CryptoError."""
        if len(sealed) < SALT_BYTES + NUMBER_BYTES + TAG_BYTES:
            raise tampered("too short for an encrypted value", key_id)
        cipher = self._reader(key_id, sealed[:SALT_BYTES])
        nonce = _nonce(sealed[SALT_BYTES : SALT_BYTES + NUMBER_BYTES])
        try:
            return bytes(cipher.decrypt(nonce, sealed[SALT_BYTES + NUMBER_BYTES :], place))
        except Exception as error:  # InvalidTag, or a length that the library refuses
            raise tampered("not what was encrypted for this place", key_id) from error

    def fingerprint(self, text: str) -> str:
        """The same for the same text; of it nobody can learn the text without the first key."""
        secret = self.first.derived(_FOR_FINGERPRINTS)
        return hmac.digest(secret, text.encode(), "sha256").hex()[:32]

    def _new_sender(self, known: _Sender | None) -> _Sender:
        with self._lock:
            sender = self._sender
            if sender is None or sender is known or sender.pid != os.getpid():
                salt = os.urandom(SALT_BYTES)
                cipher = self._make(self.first.derived(_FOR_ENCRYPTION + salt))
                sender = self._sender = _Sender(os.getpid(), salt, itertools.count(), cipher)
            return sender

    def _reader(self, key_id: str, salt: bytes) -> Any:
        found = self._readers.get((key_id, salt))
        if found is None:
            key = self._keys.get(key_id)
            if key is None:
                raise missing("encryption", key_id, self._keys)
            if len(self._readers) >= SENDERS_KEPT:
                self._readers.clear()
            found = self._make(key.derived(_FOR_ENCRYPTION + salt))
            self._readers[key_id, salt] = found
        return found


def _nonce(number: bytes) -> bytes:
    return _ZEROS + number


def _aes_gcm() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        text = "encryption_keys need the library cryptography, which is not installed: "
        raise ConfigError([f"{text}pip install 'taskrunner-queue[encryption]'"]) from None
    return AESGCM


class SigningRing:
    """Signs with its first key, verifies with all. Thread-safe."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.first = keys[0]
        self._secrets = {key.id: key.derived(_FOR_SIGNATURES) for key in keys}

    def sign(self, plain: bytes, place: bytes) -> bytes:
        """A signature of these bytes at this place, by the first key."""
        return _signature(self._secrets[self.first.id], plain, place)

    def verify(self, key_id: str, signature: bytes, plain: bytes, place: bytes) -> None:
        """Raises CryptoError where that is not what was signed."""
        secret = self._secrets.get(key_id)
        if secret is None:
            raise missing("signing", key_id, self._secrets)
        if not hmac.compare_digest(_signature(secret, plain, place), signature):
            raise tampered("not what was signed for this place", key_id)


def _signature(secret: bytes, plain: bytes, place: bytes) -> bytes:
    # The place goes in as its digest, so that no boundary between the two can be moved.
    return hmac.digest(secret, sha256(place).digest() + plain, "sha256")


def missing(kind: str, key_id: str, known: Iterable[str]) -> CryptoError:
    """The error for a key that is not in the ring."""
    there = ", ".join(sorted(known)) or "none"
    return CryptoError(
        f"the {kind} key {key_id!r} is not known here (known: {there}): add it to {kind}_keys",
        key_id=key_id,
    )


def tampered(what: str, key_id: str) -> CryptoError:
    """The error for bytes that the key does not fit."""
    return CryptoError(
        f"{what}: altered, moved here from elsewhere, or the key {key_id!r} has another secret",
        key_id=key_id,
    )


__all__ = ["ACCEPTED", "EncryptionRing", "Key", "SigningRing", "keys_of", "missing", "tampered"]
