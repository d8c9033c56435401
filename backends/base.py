"""What a result backend is: a store of results by delivery.

Most users never meet one: brokers whose `Capabilities` include `results` keep them in the same
step that settles the job. A backend of its own serves those who want results elsewhere. The
supervisor stores a result here first and settles the job second, and the settle records the
winning token; readers ask for that token's result, so what a fenced run stored never shows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class ResultKey(NamedTuple):
    """A result belongs to one delivery of one job."""

    queue: str
    id: str
    node: str
    number: int


class StoredResult(NamedTuple):
    key: ResultKey
    value: bytes
    retention: float
    """seconds to keep it"""


class ResultBackend(ABC):
    """A store of results. Thread-safe, batch-first; every call may be repeated.

    Every method may raise BrokerUnavailable.
    """

    schemes: ClassVar[tuple[str, ...]]
    shared: ClassVar[bool]
    """other processes that are given the same URL see the same results"""

    @classmethod
    @abstractmethod
    def from_url(cls, url: str, *, namespace: str) -> ResultBackend:
        """Make one without connecting. Raises OptionError for a URL it cannot understand."""

    @abstractmethod
    def ping(self) -> None:
        """Answer, or raise BrokerUnavailable as a broker's `ping` does."""

    @abstractmethod
    def store(self, results: Sequence[StoredResult]) -> None:
        """Keep results; the same key again replaces."""

    @abstractmethod
    def get(self, keys: Sequence[ResultKey]) -> list[bytes | None]:
        """Results, None where there is none or no longer."""

    @abstractmethod
    def remove(self, keys: Sequence[ResultKey]) -> None: ...

    @abstractmethod
    def close(self) -> None: ...
