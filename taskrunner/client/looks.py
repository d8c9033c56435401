"""The part of the client that looks: jobs, why one is not running, queues, nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from taskrunner.client.answers import RemoteJobInfo, why_of
from taskrunner.client.job import RemoteJob
from taskrunner.client.words import Call, get, path_of
from taskrunner.inspector.why import Why


class RemotePage(NamedTuple):
    """Some of the jobs that a filter means."""

    jobs: list[RemoteJobInfo]
    cursor: str
    """where the next page begins; empty: this was the last"""


class RemoteLooks(ABC):
    """What the service can be asked. Each method raises BrokerUnavailable, NotAuthenticated,
    NotAllowed and TooManyRequests."""

    @abstractmethod
    def send(self, call: Call) -> Any: ...

    @abstractmethod
    async def asend(self, call: Call) -> Any: ...

    def job(self, id: str, queue: str | None = None) -> RemoteJob:  # noqa: A002  as App has it
        """A handle on a job by its id; nothing is asked yet."""
        return RemoteJob(self, id, queue)

    def why(self, job_id: str, queue: str | None = None) -> Why:
        """Why a job is not running, as `app.why` says it; details are as JSON carries them.

        Raises JobNotFound, also where the key does not reach it, and AmbiguousJob where no queue is
        named and several have that id.
        """
        return why_of(self.send(_why(job_id, queue)))

    async def awhy(self, job_id: str, queue: str | None = None) -> Why:
        """`why`, from asyncio."""
        return why_of(await self.asend(_why(job_id, queue)))

    def jobs(self, *, limit: int = 100, cursor: str = "", **filters: Any) -> RemotePage:
        """A page of jobs: `queue`, `state` (one or several), `task`, `text`, `since`, `until`. Raises
        OptionError."""
        return _page(self.send(_jobs(limit, cursor, filters)))

    async def ajobs(self, *, limit: int = 100, cursor: str = "", **filters: Any) -> RemotePage:
        """`jobs`, from asyncio."""
        return _page(await self.asend(_jobs(limit, cursor, filters)))

    def queues(self) -> list[dict[str, Any]]:
        """The queues in reach, and how many jobs each has in which state."""
        return list(self.send(get(path_of("queues")))["queues"])

    async def aqueues(self) -> list[dict[str, Any]]:
        """`queues`, from asyncio."""
        return list((await self.asend(get(path_of("queues"))))["queues"])

    def nodes(self) -> list[dict[str, Any]]:
        """The supervisors, as they were at their last beat."""
        return list(self.send(get(path_of("nodes")))["nodes"])

    async def anodes(self) -> list[dict[str, Any]]:
        """`nodes`, from asyncio."""
        return list((await self.asend(get(path_of("nodes"))))["nodes"])

    def stats(self) -> dict[str, Any]:
        """The namespace in a few numbers."""
        return dict(self.send(get(path_of("stats"))))

    async def astats(self) -> dict[str, Any]:
        """`stats`, from asyncio."""
        return dict(await self.asend(get(path_of("stats"))))


def _why(job_id: str, queue: str | None) -> Call:
    return get(path_of("jobs", job_id, "why"), queue=queue)


def _jobs(limit: int, cursor: str, filters: Mapping[str, Any]) -> Call:
    return get(path_of("jobs"), limit=limit, cursor=cursor, **filters)


def _page(said: Mapping[str, Any]) -> RemotePage:
    return RemotePage([RemoteJobInfo.of(one) for one in said["jobs"]], said["cursor"])
