"""What operators ask of a running system: the same answers for command line, API and dashboard.

from taskrunner.inspector import Inspector

inspector = Inspector(app)
report = inspector.doctor()
inspector.control(inspector.nodes()[0].id, "reload")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from taskrunner.brokers.base import NodeInfo, QueueStats
from taskrunner.errors import NodeNotFound, OptionError
from taskrunner.inspector.doctor import Doctor, Report
from taskrunner.inspector.filters import JobFilter
from taskrunner.inspector.jobs import BulkSlice, JobAction, JobPage, Jobs
from taskrunner.inspector.nodes import Action, Nodes
from taskrunner.inspector.rekey import Rekey, Rekeyed
from taskrunner.inspector.why import Cause, CauseKind, Why
from taskrunner.options import Seconds, validate_queue_name
from taskrunner.states import State
from taskrunner.submission import ride_out

if TYPE_CHECKING:
    from taskrunner.app import App

__all__ = [
    "Action",
    "BulkSlice",
    "Cause",
    "CauseKind",
    "Inspector",
    "JobAction",
    "JobFilter",
    "JobPage",
    "Overview",
    "Rekeyed",
    "Report",
    "Why",
]


@dataclass(frozen=True, slots=True)
class Overview:
    """A whole namespace in a few numbers."""

    queues: int
    nodes: int
    processes: int
    """that take jobs"""
    busy: int
    """jobs that run, at the nodes' last beats"""
    counts: dict[State, int]
    """jobs by state, over all queues"""
    processed: int
    """deliveries that ended as succeeded, ever"""
    failed: int
    """deliveries that ended as failed, ever"""


class Inspector:
    """An operator's questions and actions, for the broker of an App."""

    def __init__(self, app: App) -> None:
        self._app = app

    def doctor(self, queues: Sequence[str] | None = None, *, repair: bool = False) -> Report:
        """Audit the store, or these queues of it, while nodes go on; with `repair` what is found is
        mended in the step that finds it.

        Raises BrokerUnavailable, OptionError for what cannot be a queue, and BrokerError inside a
        task whose broker lives in its supervisor.
        """
        named = None if queues is None else [validate_queue_name(name, "queues") for name in queues]
        return Doctor(self._app.broker).examine(named, repair=repair)

    # -- jobs

    def jobs(self, wanted: JobFilter, *, cursor: str = "", limit: int = 100) -> JobPage:
        """Up to `limit` (1000 at most) jobs that a filter means, queue by queue and state by state,
        from where a cursor says. A page may be short, or empty, and others follow: a filter by task
        or text is tested on a slice of the index at a time.

        Raises OptionError for a cursor or a limit that cannot be, BrokerUnavailable.
        """
        return Jobs(self._app).page(wanted, cursor=cursor, limit=limit)

    def why(self, job_id: str, queue: str | None = None) -> Why:
        """Why a job is not running; see `app.why`."""
        return self._app.why(job_id, queue)

    def cancel(self, job_id: str, queue: str | None = None) -> bool:
        """Cancel a job: True where it ended or will end as cancelled, False where it was finished.

        This and the other actions on one job raise JobNotFound, AmbiguousJob where no queue is
        named and several have that id, and BrokerUnavailable.
        """
        return self._act(JobAction.CANCEL, job_id, queue)

    def retry(self, job_id: str, queue: str | None = None) -> bool:
        """Make a job ready that failed, was cancelled or has expired, with all its retries before
        it, or one that waits for a time; False where it is in another state. One that is ready
        stays so: True."""
        return self._act(JobAction.RETRY, job_id, queue)

    def delete(self, job_id: str, queue: str | None = None) -> bool:
        """Remove a job and all that is kept of it; False where it is active: cancel it first."""
        return self._act(JobAction.DELETE, job_id, queue)

    def reschedule(
        self,
        job_id: str,
        queue: str | None = None,
        *,
        delay: Seconds | None = None,
        eta: datetime | None = None,
    ) -> bool:
        """Give a scheduled or retrying job another time; False where it is in another state. Raises
        OptionError, too."""
        jobs = Jobs(self._app)
        change = jobs.change_for(JobAction.RESCHEDULE, delay=delay, eta=eta)
        return jobs.act(JobAction.RESCHEDULE, job_id, queue, change)

    def _act(self, action: JobAction, job_id: str, queue: str | None) -> bool:
        jobs = Jobs(self._app)
        return jobs.act(action, job_id, queue, jobs.change_for(action))

    def bulk(
        self,
        action: JobAction | str,
        wanted: JobFilter,
        *,
        dry_run: bool = False,
        cursor: str = "",
        delay: Seconds | None = None,
        eta: datetime | None = None,
    ) -> BulkSlice:
        """One slice, 1000 jobs at most, of doing something to all jobs that a filter means; while
        its cursor is not empty, ask again with that. With `dry_run` they are only counted.

        Of the states that are named only those count from which the action is possible. A job that
        leaves its state before its turn is left alone. Raises OptionError, BrokerUnavailable.
        """
        try:
            wanted_action = JobAction(action)
        except ValueError:
            raise OptionError(
                f"action={action!r}: expected one of {', '.join(JobAction)}"
            ) from None
        jobs = Jobs(self._app)
        change = jobs.change_for(wanted_action, delay=delay, eta=eta)
        return jobs.bulk(wanted_action, wanted, change, dry_run=dry_run, cursor=cursor)

    def rekey(self, *, dry_run: bool = False) -> Iterator[Rekeyed]:
        """Seal what is in the store with the first of the App's keys, a slice at a time; what it
        yields says how far it has come. With `dry_run` it is only counted.

        Raises OptionError where there are no keys, BrokerUnavailable, BrokerFull.
        """
        return Rekey(self._app, dry_run=dry_run).steps()

    # -- queues

    def queues(self, names: Sequence[str] | None = None) -> list[QueueStats]:
        """How many jobs the queues of the namespace, or these, have in which state. Raises
        OptionError for what cannot be a queue, BrokerUnavailable."""
        broker = self._app.broker
        if names is None:
            found = ride_out(broker.queues)
        else:
            found = [validate_queue_name(name) for name in names]
        return ride_out(lambda: broker.stats(found))

    def stats(self, names: Sequence[str] | None = None) -> Overview:
        """All of it, or of these queues, in a few numbers. Raises as `queues`."""
        queues, nodes = self.queues(names), self.nodes()
        counts: Counter[State] = Counter()
        for queue in queues:
            counts.update(queue.counts)
        return Overview(
            queues=len(queues),
            nodes=len(nodes),
            processes=sum(node.processes for node in nodes),
            busy=sum(node.busy for node in nodes),
            counts={state: counts[state] for state in State},
            processed=sum(queue.processed for queue in queues),
            failed=sum(queue.failed for queue in queues),
        )

    # -- nodes

    def nodes(self) -> list[NodeInfo]:
        """The nodes of the namespace, as they were at their last beat. Raises BrokerUnavailable."""
        return Nodes(self._app.broker).present()

    def control(self, node: str | None, action: Action | str) -> list[NodeInfo]:
        """Tell a node (its id, or how that begins), or every one (None), to grow, shrink, reload,
        stop or dump; those that were told.

        Raises NodeNotFound, OptionError where several nodes begin so or nobody does that,
        BrokerUnavailable.
        """
        try:
            wanted = Action(action)
        except ValueError:
            raise OptionError(f"action={action!r}: expected one of {', '.join(Action)}") from None
        nodes = Nodes(self._app.broker)
        asked = nodes.present() if node is None else [nodes.find(node)]
        told = nodes.tell(asked, wanted)
        if asked and not told:
            raise NodeNotFound(f"node {asked[0].id} is gone")
        return told
