"""The part of the broker seam that keeps small values of the whole namespace."""

from __future__ import annotations

from abc import ABC, abstractmethod

from taskrunner.brokers.values import Records


class KeepsRecords(ABC):
    """Records: by kind and id, until they lapse or are removed. They work in a full store."""

    @abstractmethod
    def put_record(
        self,
        kind: str,
        record_id: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: bytes | None = None,
    ) -> bool:
        """Keep a small value under a kind and an id, in the place of one that is there; for `ttl`
        seconds, or until it is removed. Works in a full store.

        `expect`: only where this value is there (b"": only where there is none). Whether `value` is
        there now.
        """

    @abstractmethod
    def records(self, kind: str, cursor: str = "", *, limit: int = 100) -> Records:
        """Up to `limit` records of a kind, sorted by id, from where a cursor says. What is there
        all the time is answered exactly once, however many come and go between the slices."""

    @abstractmethod
    def remove_record(self, kind: str, record_id: str, *, expect: bytes | None = None) -> bool:
        """Keep it no longer, if it was there. `expect`: only where it has this value. Whether
        there is none now."""
