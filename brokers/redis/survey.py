"""What the keys of a namespace are: by their names alone, and by what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from taskrunner.brokers.redis.keys import (
    NAMESPACE_KEYS,
    NAMESPACE_PREFIXES,
    QUEUE_KEYS,
    QUEUE_PREFIXES,
)

OF_A_JOB: Final = ("job:", "body:", "result:", "errors:", "more:")
"""Keys that go with the record of a job, itself first."""
_LATER: Final = frozenset({"slots"})
_LATER_PREFIXES: Final = ("stats:",)
"""Keys that other versions of taskrunner have. They are known to be ours, and nothing else."""


class Place(NamedTuple):
    """What a key is, as its name says."""

    queue: str
    """empty: of the namespace"""
    kind: str
    """`job:`, `ready:`, `done` … as in `keys`; empty: no key of ours"""
    rest: str
    """what follows the kind"""
    holds: str
    """the type it should have; empty: any"""


def pattern(namespace: str, queue: str | None = None) -> str:
    """What SCAN is to look for: all keys of a namespace, or of one queue."""
    if queue is None:
        return f"{{{_quoted(namespace)}[:}}]*"
    return f"{{{_quoted(namespace)}:{_quoted(queue)}}}:*"


def _quoted(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in text)


def place(namespace: str, key: bytes) -> Place | None:
    """Where a key belongs; None: not under this namespace."""
    start, end, rest = key.partition(b"}:")
    if not end or not start.startswith(b"{" + namespace.encode()):
        return None
    owner = start[1 + len(namespace.encode()) :]
    if owner and not owner.startswith(b":"):
        return None
    try:
        queue, name = owner[1:].decode(), rest.decode()
    except UnicodeDecodeError:
        return Place(owner[1:].decode(errors="replace"), "", rest.decode(errors="replace"), "")
    if owner:
        return _place(queue, name, QUEUE_KEYS, QUEUE_PREFIXES)
    return _place("", name, NAMESPACE_KEYS, NAMESPACE_PREFIXES)


def _place(queue: str, name: str, keys: Mapping[str, str], prefixes: Mapping[str, str]) -> Place:
    if name in keys:
        return Place(queue, name, "", keys[name])
    beginning, colon, rest = name.partition(":")
    kind = beginning + colon
    if kind in prefixes and rest:
        return Place(queue, kind, rest, prefixes[kind])
    if name in _LATER or kind in _LATER_PREFIXES:
        return Place(queue, name, "", "")
    return Place(queue, "", name, "")


class Foreign:
    """Keys under the namespace that are not ours, by the queue whose tag they have."""

    SHOWN: Final = 5
    MEASURED: Final = 1000

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, int | None]]] = {}
        self._more: dict[str, int] = {}

    def add(self, keys: Iterable[tuple[str, str]], sizes: Iterable[int | None]) -> None:
        """Pairs of owner and key, and how many bytes each takes; None: nobody says."""
        for (owner, key), size in zip(keys, sizes, strict=True):
            known = self._found.setdefault(owner, [])
            if len(known) < self.MEASURED:
                known.append((key, size))
            else:
                self._more[owner] = self._more.get(owner, 0) + 1

    def by_owner(self) -> Iterable[tuple[str, str, str]]:
        """Owner, the first key and a sentence."""
        for owner, found in sorted(self._found.items()):
            found.sort()
            count = len(found) + self._more.get(owner, 0)
            what = "1 key that is" if count == 1 else f"{count} keys that are"
            measured = [size for _, size in found if size is not None]
            size = f", {sum(measured)} bytes" if len(measured) == count else ""
            names = ", ".join(key for key, _ in found[: self.SHOWN])
            more = ", …" if count > self.SHOWN else ""
            yield owner, found[0][0], f"{what} not ours{size}: {names}{more}"
