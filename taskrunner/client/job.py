"""A job as a client of the HTTP service sees it: the handle that `App` gives, over the wire."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Protocol

from taskrunner.client.answers import RemoteJobInfo, value_of
from taskrunner.client.words import Call, get, path_of
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.errors import ResultTimeout, TaskrunnerError
from taskrunner.options import seconds
from taskrunner.states import State

LONGEST_POLL_S: Final = 30.0


class Sends(Protocol):
    """Who carries requests."""

    def send(self, call: Call) -> Any: ...

    async def asend(self, call: Call) -> Any: ...


class RemoteJob:
    """A handle on one job. Each method asks the service; all raise JobNotFound where there is no such
    job, or none that the key reaches."""

    def __init__(
        self,
        service: Sends,
        id: str,  # noqa: A002  its public name
        queue: str | None,
        *,
        rejection: TaskrunnerError | None = None,
    ) -> None:
        self._service = service
        self.id: str = id
        self.queue: str | None = queue
        self.rejection: TaskrunnerError | None = rejection
        """for a job of `enqueue_many`: why it was not accepted; None where it was"""

    def __repr__(self) -> str:
        queue = "" if self.queue is None else f" in {self.queue}"
        return f"<RemoteJob {self.id}{queue}>"

    @property
    def accepted(self) -> bool:
        return self.rejection is None

    def info(self) -> RemoteJobInfo:
        """Everything known about it."""
        return RemoteJobInfo.of(self._service.send(self._get()))

    async def ainfo(self) -> RemoteJobInfo:
        """`info`, from asyncio."""
        return RemoteJobInfo.of(await self._service.asend(self._get()))

    def state(self) -> State:
        """Where it is in its life."""
        return self.info().state

    async def astate(self) -> State:
        """`state`, from asyncio."""
        return (await self.ainfo()).state

    def cancel(self) -> bool:
        """True where it has ended or will end as cancelled, False where it was finished otherwise."""
        return _is_done(self._service.send(self._do("cancel")))

    async def acancel(self) -> bool:
        """`cancel`, from asyncio."""
        return _is_done(await self._service.asend(self._do("cancel")))

    def retry(self) -> bool:
        """Run it again, or now; False where its state does not allow that."""
        return _is_done(self._service.send(self._do("retry")))

    async def aretry(self) -> bool:
        """`retry`, from asyncio."""
        return _is_done(await self._service.asend(self._do("retry")))

    def result(self, timeout: float | timedelta | None = None) -> Any:
        """Wait until it has ended; what the task returned, as JSON carries it.

        Raises JobFailed, JobCancelled, JobExpired, ResultTimeout after `timeout` seconds, and
        ResultExpired where the result is no longer kept.
        """
        wait = _Wait(self.id, timeout)
        while (said := self._service.send(self._poll(wait)))["state"] not in _ENDED:
            wait.go_on(said["state"])
        return value_of(said)

    async def aresult(self, timeout: float | timedelta | None = None) -> Any:
        """`result`, from asyncio."""
        wait = _Wait(self.id, timeout)
        while (said := await self._service.asend(self._poll(wait)))["state"] not in _ENDED:
            wait.go_on(said["state"])
        return value_of(said)

    def _get(self) -> Call:
        return get(path_of("jobs", self.id), queue=self.queue)

    def _do(self, action: str) -> Call:
        query = {} if self.queue is None else {"queue": self.queue}
        path = path_of("jobs", self.id, action)
        return Call("POST", path, query=query, is_repeatable=True)

    def _poll(self, wait: _Wait) -> Call:
        left = wait.next()
        return get(path_of("jobs", self.id, "result"), waits=left, queue=self.queue, wait=left)


_ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})


def _is_done(said: Any) -> bool:
    return said is not None


class _Wait:
    """How much of a wait is left."""

    def __init__(self, job_id: str, timeout: float | timedelta | None) -> None:
        self._job_id = job_id
        self._timeout = None if timeout is None else seconds("timeout", timeout)
        self._began = SYSTEM_CLOCK.monotonic()

    def _left(self) -> float:
        if self._timeout is None:
            return LONGEST_POLL_S
        return max(0.0, self._began + self._timeout - SYSTEM_CLOCK.monotonic())

    def next(self) -> float:
        """How long the next request may wait."""
        return round(min(self._left(), LONGEST_POLL_S), 3)

    def go_on(self, state: str) -> None:
        """Raises ResultTimeout where nothing is left."""
        if self._left() <= 0:
            raise ResultTimeout(
                f"job {self._job_id} did not finish within {self._timeout} seconds; it is {state}",
                job_id=self._job_id,
            )
