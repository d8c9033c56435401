"""API keys as a service knows them: looked up once, and again when what is known has become old.

    request ─▶ quick: known, and fresh? ──────────────────────────▶ identity, or refused
                   └─ no ─▶ look (one round trip, in a thread) ─▶ identity, or refused

So a request costs no round trip, and a key that was revoked or rotated away is refused everywhere
`FRESH_S` seconds later at the latest. While the store is away nobody is let in on old knowledge.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from taskrunner.access.identity import Identity
from taskrunner.access.keys import Shown, StoredKey
from taskrunner.access.keystore import KeyStore
from taskrunner.clock import SYSTEM_CLOCK, Clock
from taskrunner.errors import MessageError, NotAuthenticated

FRESH_S: Final = 5.0
"""Seconds for which what the store said of a key is acted on."""

KNOWN_AT_MOST: Final = 10_000
NOTE_EVERY_S: Final = 60.0
"""Last use is written down this often at most."""


class _Known(NamedTuple):
    key: StoredKey
    looked_at: float
    """monotonic"""


class KeyRing:
    """Recognises keys. Thread-safe."""

    def __init__(self, store: KeyStore, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._noted: OrderedDict[str, float] = OrderedDict()

    def quick(self, text: str) -> Identity | None:
        """Whose key this is, without asking anybody; None: `look` has to say. Raises
        NotAuthenticated."""
        shown = _parsed(text)
        with self._lock:
            known = self._known.get(shown.id)
        if known is None or self._clock.monotonic() - known.looked_at >= FRESH_S:
            return None
        return self._judge(shown, known.key).identity

    def recognises(self, text: str) -> bool:
        """Whether this was a key when the store was asked last, however long ago that is."""
        shown = _parsed(text)
        with self._lock:
            known = self._known.get(shown.id)
        return known is not None and known.key.opens(shown, self._store.pepper)

    def look(self, text: str) -> Identity:
        """Whose key this is, by what the store says now. Raises NotAuthenticated,
        BrokerUnavailable."""
        shown = _parsed(text)
        asked_at = self._clock.monotonic()
        try:
            key = self._store.find(shown.id)
        except MessageError:
            key = None
        found = self._judge(shown, key)
        # What opened nothing is not remembered: a flood of guesses shall displace no key in use.
        self._learn(_Known(found, asked_at))
        self._note(found)
        return found.identity

    def _learn(self, known: _Known) -> None:
        with self._lock:
            before = self._known.pop(known.key.id, known)
            # Of two that asked at once, what was asked later is nearer to the truth.
            self._known[known.key.id] = max(before, known, key=lambda one: one.looked_at)
            while len(self._known) > KNOWN_AT_MOST:
                self._known.popitem(last=False)

    def _judge(self, shown: Shown, key: StoredKey | None) -> StoredKey:
        # Against nothing too, so that an unknown id takes as long as a wrong secret.
        is_right = (key or _NONE).opens(shown, self._store.pepper)
        if key is None or not is_right or not key.is_valid(self._clock.wall()):
            raise NotAuthenticated("this API key is not, or no longer, valid")
        return key

    def _note(self, key: StoredKey) -> None:
        """Write down that it is in use, seldom: only where the store is asked anyway."""
        now = self._clock.monotonic()
        with self._lock:
            if now - self._noted.get(key.id, -NOTE_EVERY_S) < NOTE_EVERY_S:
                return
            self._noted.pop(key.id, None)
            self._noted[key.id] = now
            while len(self._noted) > KNOWN_AT_MOST:
                self._noted.popitem(last=False)
        self._store.note_use(key, self._clock.wall())


def _parsed(text: str) -> Shown:
    shown = Shown.parse(text)
    if shown is None:
        raise NotAuthenticated("this is not an API key")
    return shown


_NONE: Final = StoredKey(id="", name="", scopes=frozenset())
