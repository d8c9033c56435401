"""What of a job is sealed, that is encrypted or signed, and how that looks in the store.

    a message      header  k  id of the key            s  where it is signed: binding · signature
                   body    C1 01 binding encrypted     of the user's headers, then the arguments
    a value        C1 01 length id encrypted
                   C1 02 length id signature plain

A value is a result, an error, or a progress. C1 is the one byte that no msgpack begins with, so what is
sealed can be told from what is not. Encrypted or signed is each for one place: the kind of field, the
queue, the task and the job (or, for the template of a schedule, the schedule: its jobs carry it
unopened; or, where the job that has the same unique key may take the message, that key). Moved
elsewhere it is refused.

With keys for both, things are encrypted: that keeps them from being altered, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgpack

from taskrunner.config import Config
from taskrunner.crypto import EncryptionRing, Key, SigningRing, missing, tampered
from taskrunner.errors import ConfigError, CryptoError, MessageError
from taskrunner.message import REPLACE, ErrorInfo, Header, Lock, Message, unpack
from taskrunner.unique import hidden

MARK: Final = b"\xc1"
ENCRYPTED: Final = b"\xc1\x01"
SIGNED: Final = b"\xc1\x02"
TO_JOB: Final = b"\x01"
TO_SCHEDULE: Final = b"\x02"
TO_KEY: Final = b"\x03"

ARGUMENTS: Final = "arguments"
REPLACEMENT: Final = "replacement"
TEMPLATE: Final = "template"
RESULT: Final = "result"
ERROR: Final = "error"
PROGRESS: Final = "progress"

SCHEDULE_HEADER: Final = "taskrunner.schedule"
SLOT_HEADER: Final = "taskrunner.slot"
"""Headers of a schedule's jobs: its name, and the slot's time as ISO 8601 in UTC."""

_KINDS: Final = {TO_JOB: ARGUMENTS, TO_SCHEDULE: TEMPLATE, TO_KEY: REPLACEMENT}
_OPEN_HEADERS: Final = frozenset({SCHEDULE_HEADER, SLOT_HEADER})
"""What a node adds to a template that it cannot open."""
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_SIGNATURE: Final = 32
_FULL_MAP: Final = 0x8F
"""How msgpack begins the largest map whose size is in its first byte."""
_pack = msgpack.packb


class Keeps(Protocol):
    """What must be known of a job to open what belongs to it: a JobRecord, for example."""

    @property
    def queue(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def wire(self) -> bytes: ...


def _place(kind: str, queue: str, task: str, name: str) -> bytes:
    # With lengths, so that no letter can be moved from one name to the next.
    return f"{kind} {len(queue)} {len(task)} {queue}{task}{name}".encode()


class Seals:
    """What the keys of an application do. Thread-safe.

    Raises ConfigError where a library is missing, or something is required that no key is for.
    """

    def __init__(self, config: Config) -> None:
        encryption = [Key.parse(text) for text in config.encryption_keys]
        signing = [Key.parse(text) for text in config.signing_keys]
        self._ring = EncryptionRing(encryption) if encryption else None
        self._signing = SigningRing(signing) if signing else None
        _check_required(config)
        self._must_encrypt = config.require_encryption
        self._must_sign = config.require_signing
        self._required = self._must_encrypt or self._must_sign
        self.is_active: bool = bool(encryption or signing)
        """whether what is new is sealed"""

    @property
    def key_id(self) -> str | None:
        """The id of the key that seals what is new."""
        ring = self._ring or self._signing
        return None if ring is None else ring.first.id

    # -- messages

    def message(self, message: Message) -> Message:
        """A message as the store gets it."""
        if not self.is_active:
            return message
        if message.lock is None:
            return self._bound(message, TO_JOB, message.id)
        message = self._hidden(message, message.lock)
        if message.lock is not None and message.lock.on_conflict == REPLACE:
            return self._bound(message, TO_KEY, message.lock.key)
        return self._bound(message, TO_JOB, message.id)

    def _hidden(self, message: Message, lock: Lock) -> Message:
        """With a unique key that does not betray the arguments, where they are encrypted."""
        if self._ring is None:
            return message
        lock = lock._replace(key=hidden(lock.key, self._ring.fingerprint))
        return replace(message, lock=lock, header=replace(message.header, unique_key=lock.key))

    def template(self, schedule: str, message: Message) -> Message:
        """The template of a schedule's jobs, as the store gets it."""
        if not self.is_active:
            return message
        if message.lock is not None:
            message = self._hidden(message, message.lock)
        return self._bound(message, TO_SCHEDULE, schedule)

    def template_of(self, schedule: str, message: Message) -> Message:
        """The template as it was before it was sealed. Raises CryptoError."""
        header = message.header
        named = replace(header, headers={**header.headers, SCHEDULE_HEADER: schedule})
        headers, body = self.opened(named, message.body, message.queue, "")
        own = {name: value for name, value in headers.items() if name not in _OPEN_HEADERS}
        plain = replace(header, headers=MappingProxyType(own), key_id=None, signature=None)
        return _with(message, plain, body)

    def fingerprint(self, text: str) -> str:
        """Something that is kept beside what is encrypted, and must not betray it."""
        return text if self._ring is None else self._ring.fingerprint(text)

    def _bound(self, message: Message, binding: bytes, name: str) -> Message:
        place = _place(_KINDS[binding], message.queue, message.task, name)
        header, body = message.header, message.body
        plain = (_pack(dict(header.headers)) if header.headers else b"\x80") + body
        if self._ring is not None:
            sealed = ENCRYPTED + binding + self._ring.encrypt(plain, place)
            return _with(message, _encrypted(header, self._ring.first.id), sealed)
        assert self._signing is not None
        signature = binding + self._signing.sign(plain, place)
        return _with(message, _signed(header, self._signing.first.id, signature), body)

    def opened(
        self, header: Header, body: bytes, queue: str, job_id: str
    ) -> tuple[Mapping[str, str], bytes]:
        """The user's headers and the arguments of a message. Raises CryptoError where they cannot
        be opened, or are not sealed although they must be."""
        if header.key_id is None and not self._required:
            if body[:2] == ENCRYPTED:
                raise tampered("encrypted arguments, and a header that names no key", "")
            return header.headers, body
        if header.key_id is None:
            raise self._unsealed("the message")
        if header.signature is not None:
            return self._verified(header, body, queue, job_id)
        return self._decrypted(header, body, queue, job_id)

    def _decrypted(
        self, header: Header, body: bytes, queue: str, job_id: str
    ) -> tuple[Mapping[str, str], bytes]:
        key_id = header.key_id or ""
        if body[:2] != ENCRYPTED:
            raise tampered(
                "a header that names a key, and arguments that are not encrypted", key_id
            )
        place = _message_place(header, body[2:3], queue, job_id)
        visible = header.headers
        if visible and not (body[2:3] == TO_SCHEDULE and visible.keys() <= _OPEN_HEADERS):
            raise tampered("headers that were added to an encrypted message", key_id)
        if self._ring is None:
            raise missing("encryption", key_id, ())
        own, arguments = _split(self._ring.decrypt(key_id, body[3:], place))
        return (MappingProxyType({**own, **visible}) if visible else own), arguments

    def _verified(
        self, header: Header, body: bytes, queue: str, job_id: str
    ) -> tuple[Mapping[str, str], bytes]:
        key_id, given = header.key_id or "", header.signature or b""
        if self._must_encrypt:
            raise self._unsealed("the message")
        if self._signing is None:
            self._unproven(key_id)
            return header.headers, body
        place = _message_place(header, given[:1], queue, job_id)
        headers = header.headers
        if given[:1] == TO_SCHEDULE:
            headers = {name: value for name, value in headers.items() if name not in _OPEN_HEADERS}
        plain = (_pack(dict(headers)) if headers else b"\x80") + body
        self._signing.verify(key_id, given[1:], plain, place)
        return header.headers, body

    def is_current(self, header: Header) -> bool:
        """Whether a message with this header is sealed as a new one would be."""
        is_signed = self._ring is None and self._signing is not None
        return header.key_id == self.key_id and (header.signature is not None) == is_signed

    # -- values

    def is_current_value(self, value: bytes) -> bool:
        """Whether a value is sealed as a new one would be."""
        mark = ENCRYPTED if self._ring is not None else SIGNED
        return value.startswith(mark + _short(self.key_id or ""))

    def value(self, kind: str, queue: str, task: str, job_id: str, plain: bytes) -> bytes:
        """A result, an error or a progress as the store gets it."""
        if self._ring is not None:
            sealed = self._ring.encrypt(plain, _place(kind, queue, task, job_id))
            return ENCRYPTED + _short(self._ring.first.id) + sealed
        if self._signing is not None:
            signature = self._signing.sign(plain, _place(kind, queue, task, job_id))
            return SIGNED + _short(self._signing.first.id) + signature + plain
        return plain

    def plain(self, kind: str, of: Keeps, value: bytes) -> bytes:
        """A value of a job, opened. Raises CryptoError as `opened` does."""
        if value[:1] != MARK:
            if self._required:
                raise self._unsealed(f"the {kind}")
            return value
        key_id, rest = _key_and_rest(value)
        place = _place(kind, of.queue, task_in(of.wire), of.id)
        if value[:2] == ENCRYPTED:
            if self._ring is None:
                raise missing("encryption", key_id, ())
            return self._ring.decrypt(key_id, rest, place)
        if value[:2] != SIGNED:
            raise CryptoError("sealed in a way that this version does not know", key_id=key_id)
        return self._unsigned(kind, key_id, rest, place)

    def _unsigned(self, kind: str, key_id: str, rest: bytes, place: bytes) -> bytes:
        signature, plain = rest[:_SIGNATURE], rest[_SIGNATURE:]
        if self._must_encrypt:
            raise self._unsealed(f"the {kind}")
        if self._signing is not None:
            self._signing.verify(key_id, signature, plain, place)
        else:
            self._unproven(key_id)
        return plain

    def _unproven(self, key_id: str) -> None:
        """Nothing is hidden by a signature: who has no signing keys reads it as if it were not
        there, unless proof is asked for."""
        if self._must_sign:
            raise missing("signing", key_id, ())

    def again(self, kind: str, of: Keeps, value: bytes) -> bytes:
        """A value of a job, sealed as a new one would be. Raises CryptoError."""
        return self.value(kind, of.queue, task_in(of.wire), of.id, self.plain(kind, of, value))

    def error(self, of: Keeps, packed: bytes) -> ErrorInfo:
        """An error of a job; one that cannot be opened says so."""
        try:
            return ErrorInfo.unpack(self.plain(ERROR, of, packed))
        except CryptoError as problem:
            return ErrorInfo("unreadable", f"the stored error cannot be read: {problem}")

    def _unsealed(self, what: str) -> CryptoError:
        wanted = "encrypted" if self._must_encrypt else "signed"
        setting = "require_encryption" if self._must_encrypt else "require_signing"
        return CryptoError(f"{what} is not {wanted}, and {setting} is set", reason="unprotected")


def _check_required(config: Config) -> None:
    problems = []
    if config.require_encryption and not config.encryption_keys:
        problems.append("require_encryption is set, and there are no encryption_keys")
    if config.require_signing and not (config.signing_keys or config.encryption_keys):
        problems.append("require_signing is set, and there are no signing_keys")
    if problems:
        raise ConfigError(problems)


def task_in(wire: bytes) -> str:
    """The name of a message's task; empty where it cannot be read."""
    try:
        return unpack(wire)[0].task
    except MessageError:
        return ""


def _message_place(header: Header, binding: bytes, queue: str, job_id: str) -> bytes:
    if binding == TO_JOB:
        return _place(ARGUMENTS, queue, header.task, job_id)
    if binding == TO_KEY:
        return _place(REPLACEMENT, queue, header.task, header.unique_key or "")
    if binding == TO_SCHEDULE:
        name = header.headers.get(SCHEDULE_HEADER, "")
        return _place(TEMPLATE, queue, header.task, name)
    raise tampered("bound to nothing that is known", header.key_id or "")


def _with(message: Message, header: Header, body: bytes) -> Message:
    """The same message with these; by hand, since this runs for every job."""
    return Message(
        message.id,
        message.queue,
        header,
        body,
        message.priority,
        message.timing,
        message.call,
        message.durability,
        message.lock,
    )


def _encrypted(header: Header, key_id: str) -> Header:
    """The header of an encrypted message; made once for all messages that share it."""
    known: Header | None = header.__dict__.get("_encrypted")
    if known is None or known.key_id != key_id:
        known = replace(header, headers=NO_HEADERS, key_id=key_id, signature=None)
        header.__dict__["_encrypted"] = known
    return known


def _signed(header: Header, key_id: str, signature: bytes) -> Header:
    """The header of a signed message. It is another for each message, so its bytes are put together
    from those that all share: one more entry in the map, at its end."""
    shared: Header | None = header.__dict__.get("_with_key")
    if shared is None or shared.key_id != key_id:
        shared = replace(header, key_id=key_id, signature=None)
        header.__dict__["_with_key"] = shared
    packed = shared.packed
    if header.extra or packed[0] >= _FULL_MAP:
        return replace(shared, signature=signature)
    made = object.__new__(Header)
    lead = (packed[0] + 1).to_bytes(1, "big")
    entry = b"\xa1s\xc4" + len(signature).to_bytes(1, "big") + signature
    made.__dict__.update(shared.__dict__, signature=signature, packed=lead + packed[1:] + entry)
    return made


def _split(plain: bytes) -> tuple[Mapping[str, str], bytes]:
    """The headers, and the arguments behind them."""
    if plain[:1] == b"\x80":
        return NO_HEADERS, plain[1:]
    unpacker: Any = msgpack.Unpacker(max_buffer_size=len(plain))
    unpacker.feed(plain)
    headers = unpacker.unpack()
    return MappingProxyType(headers), plain[unpacker.tell() :]


def _short(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(1, "big") + data


def _key_and_rest(value: bytes) -> tuple[str, bytes]:
    end = 3 + value[2] if len(value) > 2 else 0
    try:
        return value[3:end].decode(), value[end:]
    except UnicodeDecodeError:
        raise tampered("a sealed value whose key cannot be read", "") from None
