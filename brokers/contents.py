"""The part of the broker seam that exchanges what records hold, and leaves everything else alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class HasContents(Protocol):
    """A record, as far as it is its user's."""

    @property
    def wire(self) -> bytes: ...
    @property
    def progress(self) -> bytes | None: ...
    @property
    def result(self) -> bytes | None: ...
    @property
    def errors(self) -> tuple[bytes, ...]: ...


class Contents(NamedTuple):
    """What a record holds of its user's."""

    wire: bytes
    progress: bytes | None
    result: bytes | None
    errors: tuple[bytes, ...]
    """newest first"""

    @classmethod
    def of(cls, record: HasContents) -> Contents:
        return cls(record.wire, record.progress or None, record.result or None, record.errors)


class Rewrite(NamedTuple):
    """Other contents for one record."""

    queue: str
    id: str
    before: Contents
    after: Contents


class RewritesContents(ABC):
    """For whoever changes keys."""

    @abstractmethod
    def rewrite(self, changes: Sequence[Rewrite]) -> list[bool | None]:
        """Put other contents into records, whatever state they are in: all of a record in one step,
        and only where it still holds what it did `before`. State, counters and times stay.

        For each: True, it holds `after`, now or from an earlier call; False, it holds something
        else by now; None, there is no record. Raises BrokerFull where there is no room.
        """
