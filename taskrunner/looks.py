"""The part of the App that looks at jobs: a handle on one, and why it is not running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from taskrunner.errors import OptionError
from taskrunner.job import Job
from taskrunner.options import validate_queue_name

if TYPE_CHECKING:
    from taskrunner.app import App
    from taskrunner.inspector.why import Why


class Looks:
    """What an App can be asked about any job."""

    def job(self, id: str, queue: str | None = None) -> Job[Any]:  # noqa: A002  its public name
        """A handle on a job by its id, from any process; nothing is asked yet.

        Without `queue` every queue is asked, in one round trip, when the handle first needs it;
        that is when JobNotFound and AmbiguousJob are raised.
        """
        if not isinstance(id, str):
            raise OptionError(f"id={id!r}: expected text")
        return Job(cast("App", self), id, None if queue is None else validate_queue_name(queue))

    def why(self, job_id: str, queue: str | None = None) -> Why:
        """Why a job is not running: `str()` of the answer is a sentence for each cause that holds, and
        its `causes` are the same as values. Of a job that runs or has ended it says that.

        Raises JobNotFound, AmbiguousJob where no queue is named and several have that id, and
        BrokerUnavailable.
        """
        from taskrunner.inspector.why import look  # not needed to submit jobs

        return look(cast("App", self), self.job(job_id, queue).id, queue)

    async def awhy(self, job_id: str, queue: str | None = None) -> Why:
        """`why`, from asyncio."""
        return await asyncio.to_thread(self.why, job_id, queue)
