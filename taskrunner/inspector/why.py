"""Why a job is not running, in one sentence for each cause that holds.

    look (asks the store) ─▶ Facts ─▶ causes (pure) ─▶ Why

What several questions answer is not of one moment: a job may be taken between two of them. Where it
stands in its queue is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from taskrunner.brokers.base import BrokerClient, JobKey, LimitState, NodeInfo, QueueStats
from taskrunner.inspector.spans import span
from taskrunner.jobinfo import JobInfo
from taskrunner.message import PARKED_FOR_TASK
from taskrunner.states import FINISHED, IDLE, State
from taskrunner.submission import ride_out

if TYPE_CHECKING:
    from taskrunner.app import App

PAGE: Final = 1000
MOST_PAGES: Final = 5
"""A job that is further back stands behind more than can be counted in a moment."""
PARKED_FOR_VERSION: Final = "version:"


class CauseKind(StrEnum):
    """What keeps a job from running; or what it does instead."""

    POSITION = "position"
    DUE = "due"
    RATE = "rate"
    RUNNING_LIMIT = "max_running"
    PAUSED = "paused"
    UNREADABLE_LIMIT = "unreadable limit"
    PARKED = "parked"
    NO_NODE = "no node"
    UNKNOWN_TASK = "unknown task"
    LATER_VERSION = "later version"
    SUSPECT = "suspect"
    OVERDUE = "overdue"
    RUNNING = "running"
    DELIVERED = "delivered"
    CANCELLING = "cancelling"
    REPLACED = "replaced"
    UNREADABLE = "unreadable"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Cause:
    """One of them."""

    kind: CauseKind
    text: str
    """a sentence, without its full stop"""
    details: Mapping[str, Any] = field(default_factory=dict)
    """its numbers and names: durations in seconds"""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Why:
    """Why a job is where it is. `str()` of it is one sentence for each cause, a line each."""

    id: str
    queue: str
    task: str
    """empty where its message cannot be read"""
    state: State
    causes: tuple[Cause, ...]

    def __str__(self) -> str:
        return "\n".join(cause.text for cause in self.causes)


@dataclass(frozen=True)
class Facts:
    """What is to be judged. Moments are the store's."""

    info: JobInfo
    now: float
    stats: QueueStats
    limits: tuple[LimitState, ...] = ()
    """those that concern the job"""
    nodes: tuple[NodeInfo, ...] = ()
    ahead: int = 0
    """jobs that would be taken before it"""
    is_exact: bool = True
    """`ahead` was counted; else there are at least so many"""


def look(app: App, job_id: str, queue: str | None = None) -> Why:
    """Ask the store. Raises JobNotFound, AmbiguousJob and BrokerUnavailable."""
    job = app.job(job_id, queue)
    info = job.info()
    found = ride_out(lambda: _facts(app.broker, info))
    return Why(info.id, info.queue, info.task, info.state, tuple(causes(found)))


def _facts(broker: BrokerClient, info: JobInfo) -> Facts:
    now, (stats,) = broker.now(), broker.stats([info.queue])
    if info.state in FINISHED:
        return Facts(info, now, stats)
    waits = info.state in (State.PENDING, State.WAITING)
    limits = broker.limits(info.queue, info.id) if waits else []
    ahead, is_exact = _place(broker, info) if info.state is State.PENDING else (0, True)
    return Facts(info, now, stats, tuple(limits), tuple(broker.nodes()), ahead, is_exact)


def _place(broker: BrokerClient, info: JobInfo) -> tuple[int, bool]:
    wanted, ahead, cursor = JobKey(info.queue, info.id), 0, ""
    for _ in range(MOST_PAGES):
        page = broker.jobs(info.queue, State.PENDING, cursor, limit=PAGE)
        if wanted in page.keys:
            return ahead + page.keys.index(wanted), True
        ahead, cursor = ahead + len(page.keys), page.cursor
        if not cursor:
            return ahead, True  # it was taken meanwhile, or put elsewhere
    return ahead, False


def causes(facts: Facts) -> Iterator[Cause]:
    """Each that holds, what matters most first. Pure."""
    info = facts.info
    if info.state in FINISHED:
        yield _finished(facts)
    elif info.state is State.ACTIVE:
        yield from _active(facts)
    else:
        yield from _idle(facts)
    if info.unreadable:
        yield Cause(CauseKind.UNREADABLE, f"it cannot be read here: {info.unreadable}")
    if info.replaced:
        times = "once" if info.replaced == 1 else f"{info.replaced} times"
        yield Cause(
            CauseKind.REPLACED,
            f"a later submission with its unique key has replaced its message {times}; it kept its id",
            {"times": info.replaced, "unique_key": info.unique_key},
        )


# -- what has ended, and what runs


def _finished(facts: Facts) -> Cause:
    info, record = facts.info, facts.info.record
    ago = max(0.0, facts.now - (record.finished_at or facts.now))
    text = f"it has ended: {info.state}, {span(ago)} ago"
    runs = f"{info.attempt} run{'' if info.attempt == 1 else 's'}"
    if info.state is State.FAILED:
        text += f", after {runs}, with the reason {(info.reason or 'error')!r}"
        if info.error is not None:
            text += f": {info.error.type}: {info.error.message}".removesuffix(": ")
    elif info.state is State.EXPIRED:
        text += ": nobody had started it in time"
    return Cause(
        CauseKind.FINISHED,
        text,
        {"state": str(info.state), "ago": ago, "reason": info.reason, "runs": info.attempt},
    )


def _active(facts: Facts) -> Iterator[Cause]:
    info, record = facts.info, facts.info.record
    node = next((node for node in facts.nodes if node.id == record.node), None)
    where = f"node {record.node}" + (f" on {node.host}" if node and node.host else "")
    details: dict[str, Any] = {"node": record.node, "pid": record.pid}
    if record.started_at is None:
        text = f"{where} has it, and has not said yet that it has started"
        yield Cause(CauseKind.DELIVERED, text, details)
    else:
        ran = max(0.0, facts.now - record.started_at)
        text = f"it has been running for {span(ran)} in process {record.pid} of {where}"
        yield Cause(CauseKind.RUNNING, text, {**details, "for": ran, "attempt": info.attempt})
    if node is None:
        text = f"node {record.node} has not been heard of lately: others take the job back when its lease is over"
        yield Cause(CauseKind.NO_NODE, text, {"node": record.node})
    if info.cancelling:
        yield Cause(CauseKind.CANCELLING, "it is to be cancelled, and has not stopped yet")


# -- what waits


def _idle(facts: Facts) -> Iterator[Cause]:
    yield from _overdue(facts)
    if facts.info.state in (State.SCHEDULED, State.RETRYING):
        yield _due(facts)
    else:
        yield from _held(facts)
    yield from _unserved(facts)
    if facts.info.state is State.PENDING:
        yield _position(facts)
    if facts.info.suspect:
        text = (
            "it may have killed its process, and waits until one is free in which it can run alone"
        )
        losses, crashes = facts.info.losses, facts.info.crashes
        yield Cause(CauseKind.SUSPECT, text, {"losses": losses, "crashes": crashes})


def _overdue(facts: Facts) -> Iterator[Cause]:
    record = facts.info.record
    for option, moment in (("expires", record.expires_at), ("deadline", record.deadline)):
        if moment is not None and moment <= facts.now and record.state in IDLE:
            ago = facts.now - moment
            text = f"its {option} passed {span(ago)} ago: it ends as soon as a node looks at it"
            yield Cause(CauseKind.OVERDUE, text, {"option": option, "ago": ago})


def _due(facts: Facts) -> Cause:
    info, eta = facts.info, facts.info.record.eta or facts.now
    what = "its next run" if info.state is State.RETRYING else "it"
    left = eta - facts.now
    details = {"in": left, "at": info.eta and info.eta.isoformat(), "attempt": info.attempt}
    if left <= 0:
        text = f"{what} fell due {span(-left)} ago, and no node has seen to it yet"
    else:
        text = f"{what} is due in {span(left)}, at {info.eta and info.eta:%Y-%m-%d %H:%M:%S} UTC"
    if info.state is State.RETRYING and info.error is not None:
        text += f"; the last one ended with {info.error.type}"
    return Cause(CauseKind.DUE, text, details)


def _held(facts: Facts) -> Iterator[Cause]:
    found = [cause for limit in facts.limits for cause in _of_limit(limit)]
    yield from found
    key = facts.info.record.park_key if facts.info.state is State.WAITING else None
    if key is None:
        return
    others = max(0, facts.stats.parked.get(key, 0) - 1)
    if key.startswith(PARKED_FOR_TASK):
        task = key.removeprefix(PARKED_FOR_TASK)
        text = f"no node of its queue knows the task {task!r}: it waits for one that does"
        yield Cause(CauseKind.UNKNOWN_TASK, text, {"task": task, "others": others})
    elif key.startswith(PARKED_FOR_VERSION):
        version = key.removeprefix(PARKED_FOR_VERSION)
        text = f"its message is of version {version}: it waits for a node that reads it"
        yield Cause(CauseKind.LATER_VERSION, text, {"version": version, "others": others})
    elif not found:
        text = f"it waits under {key!r} with {others} others, and its turn has come or is about to"
        yield Cause(CauseKind.PARKED, text, {"key": key, "others": others})


def _of_limit(limit: LimitState) -> Iterator[Cause]:
    """What of a limit holds jobs now."""
    scope = str(limit.scope) or "queue"
    of = "its queue" if scope == "queue" else scope
    details: dict[str, Any] = {"scope": scope, "waiting": limit.waiting}
    if limit.problem:
        text = f"the limit of {of} cannot be read, and holds everything: {limit.problem}"
        yield Cause(CauseKind.UNREADABLE_LIMIT, text, details)
    if limit.is_paused:
        end = "until it is resumed"
        if limit.paused_for is not None:
            end = f"for {span(limit.paused_for)} more"
        paused = {**details, "for": limit.paused_for}
        yield Cause(CauseKind.PAUSED, f"{of} is paused, {end}", paused)
    rate, most = limit.holds.rate, limit.holds.max_running
    if rate is not None and limit.opens_in:
        text = (
            f"{of} may start {rate}: the next start is in {span(limit.opens_in)}, and "
            f"{limit.waiting} wait for it"
        )
        yield Cause(CauseKind.RATE, text, {**details, "rate": str(rate), "in": limit.opens_in})
    if isinstance(most, int) and limit.running >= most:
        text = f"of {of} {most} may run at once: {limit.running} do, and {limit.waiting} wait"
        numbers = {"max_running": most, "running": limit.running}
        yield Cause(CauseKind.RUNNING_LIMIT, text, {**details, **numbers})


def _unserved(facts: Facts) -> Iterator[Cause]:
    queue = facts.info.queue
    if any(queue in node.queues for node in facts.nodes):
        return
    served = sorted({name for node in facts.nodes for name in node.queues})
    there = "no node is there at all"
    if served:
        there = f"those that are there serve {', '.join(served[:5])}{' …' * (len(served) > 5)}"
    text = f"no node serves the queue {queue!r}: {there}"
    yield Cause(CauseKind.NO_NODE, text, {"queue": queue, "nodes": len(facts.nodes)})


def _position(facts: Facts) -> Cause:
    length = facts.stats.counts.get(State.PENDING, 0)
    length = max(length, facts.ahead + 1)
    ahead = f"{facts.ahead:,}" if facts.is_exact else f"more than {facts.ahead:,}"
    text = f"it is ready: {ahead} of {length:,} ready jobs of its queue are taken before it"
    if not facts.ahead:
        text = f"it is ready, and the next to be taken of {length:,} in its queue"
    details = {"ahead": facts.ahead, "is_exact": facts.is_exact, "length": length}
    return Cause(CauseKind.POSITION, text, {**details, "priority": facts.info.priority})
