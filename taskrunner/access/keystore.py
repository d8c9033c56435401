"""API keys in the store: made, found, revoked and rotated by anybody who can reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from taskrunner.access.identity import patterns
from taskrunner.access.keys import Shown, StoredKey
from taskrunner.access.scopes import Scope
from taskrunner.brokers.base import BrokerClient
from taskrunner.errors import KeyNotFound, MessageError, OptionError, TaskrunnerError
from taskrunner.options import seconds

KIND: Final = "api-key"
USED: Final = "api-key-used"
KEPT_FOR: Final = 30 * 86_400.0
"""Seconds for which a key that has ended is still listed."""

OVERLAP_S: Final = 3600.0
LONGEST_NAME: Final = 100
_SLICE: Final = 200
_ATTEMPTS: Final = 20


class Made(NamedTuple):
    """A new key. `text` is what its owner needs; it cannot be had again."""

    text: str
    key: StoredKey


class Listed(NamedTuple):
    """A key and when it was last used, to a minute; None: never."""

    key: StoredKey
    used_at: float | None


class KeyStore:
    """The API keys of a namespace. Every method may raise BrokerUnavailable.

    `pepper` is the server-side secret under which digests are made; without one they are made under
    salts alone.
    """

    def __init__(self, broker: BrokerClient, *, pepper: str | None = None) -> None:
        self._broker = broker
        self.pepper: bytes | None = pepper.encode() if pepper else None

    def now(self) -> float:
        """The store's clock; seconds since the epoch."""
        return self._broker.now()

    # -- making

    def create(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        queues: Iterable[str] = (),
        tasks: Iterable[str] = (),
        expires_at: float | None = None,
    ) -> Made:
        """Make a key. `queues` and `tasks` are patterns; none: everything. Raises OptionError for
        what cannot be a name, a scope, a pattern or a time to come."""
        now = self._broker.now()
        if expires_at is not None and expires_at <= now:
            raise OptionError("expires: expected a moment to come")
        key = StoredKey(
            id="",
            name=_checked_name(name),
            scopes=Scope.parse(scopes),
            queues=patterns("queue", queues),
            tasks=patterns("task", tasks),
            created_at=now,
            expires_at=expires_at,
        )
        return self._store(key)

    def _store(self, key: StoredKey) -> Made:
        shown = Shown.new()
        sealed = replace(key, id=shown.id).sealed(shown, self.pepper)
        if not self._put(sealed, expect=b""):
            raise TaskrunnerError(f"there is a key {shown.id} already")  # one in 2**60
        return Made(shown.text, sealed)

    def _put(self, key: StoredKey, *, expect: bytes) -> bool:
        ttl = None if key.ends_at is None else key.ends_at - self._broker.now() + KEPT_FOR
        return self._broker.put_record(KIND, key.id, key.pack(), ttl=ttl, expect=expect)

    # -- looking

    def find(self, key_id: str) -> StoredKey | None:
        """The key of that id, in one round trip. Raises MessageError for one that is damaged."""
        found = self._broker.records(KIND, key_id, limit=1).records
        is_there = bool(found) and found[0].id == key_id
        return StoredKey.unpack(*found[0]) if is_there else None

    def all(self) -> Iterator[Listed]:
        """Every key that can be read, by id, with those that have ended lately."""
        used = dict(self._values(USED))
        for key_id, packed in self._values(KIND):
            try:
                key = StoredKey.unpack(key_id, packed)
            except MessageError:
                continue  # `damaged` names it
            yield Listed(key, _moment(used.get(key_id)))

    def damaged(self) -> list[str]:
        """The ids of records that hold no key that could be read: these open nothing."""
        found = []
        for key_id, packed in self._values(KIND):
            try:
                StoredKey.unpack(key_id, packed)
            except MessageError:
                found.append(key_id)
        return found

    def _values(self, kind: str) -> Iterator[tuple[str, bytes]]:
        cursor = ""
        while True:
            found, cursor = self._broker.records(kind, cursor, limit=_SLICE)
            yield from found
            if not cursor:
                return

    def note_use(self, key: StoredKey, moment: float) -> None:
        """Remember when it was used last."""
        value = repr(moment).encode()
        self._broker.put_record(USED, key.id, value, ttl=400 * 86_400.0)

    # -- ending

    def revoke(self, key_id: str) -> StoredKey:
        """Let it open nothing any more; once more changes nothing. Raises KeyNotFound."""
        now = self._broker.now()
        return self._edit(
            key_id, lambda key: key if key.revoked_at is not None else replace(key, revoked_at=now)
        )

    def rotate(self, key_id: str, *, overlap: float = OVERLAP_S) -> Made:
        """Make a key with the same name, rights and length of life, and let the old one go on for
        `overlap` seconds. Raises KeyNotFound, OptionError for one that has ended already."""
        overlap = seconds("overlap", overlap)
        now = self._broker.now()
        old = self._found(key_id)
        if not old.is_valid(now):
            raise OptionError(f"the key {key_id} has ended ({old.standing(now)}): make a new one")
        life = None if old.expires_at is None else old.expires_at - old.created_at
        made = self._store(
            replace(
                old,
                created_at=now,
                expires_at=None if life is None else now + life,
                rotated_from=old.id,
                retires_at=None,
            )
        )
        self._edit(key_id, lambda key: _retired(key, now + overlap))
        return made

    def _found(self, key_id: str) -> StoredKey:
        found = self.find(key_id)
        if found is None:
            raise KeyNotFound(f"there is no API key {key_id!r}")
        return found

    def _edit(self, key_id: str, edit: Callable[[StoredKey], StoredKey]) -> StoredKey:
        for _ in range(_ATTEMPTS):
            before = self._found(key_id)
            after = edit(before)
            if after is before or self._put(after, expect=before.pack()):
                return after
        raise TaskrunnerError(f"the API key {key_id} was changed by others again and again")


def _retired(key: StoredKey, moment: float) -> StoredKey:
    soonest = moment if key.retires_at is None else min(moment, key.retires_at)
    return replace(key, retires_at=soonest)


def _checked_name(name: str) -> str:
    if isinstance(name, str) and 1 <= len(name.strip()) <= LONGEST_NAME and name.isprintable():
        return name.strip()
    raise OptionError(f"name={name!r}: expected 1 to {LONGEST_NAME} printable characters")


def _moment(packed: bytes | None) -> float | None:
    try:
        return None if packed is None else float(packed)
    except ValueError:
        return None
