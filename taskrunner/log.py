"""Events and messages of taskrunner as log lines, readable or JSON.

    2026-03-01T12:00:00.123+01:00 WARNING run failed: ValueError: no; again in 1.5 s [mail.send 01J8…]

Everything is logged to the logger `taskrunner`. Nothing here touches the root logger: `configure`
gives `taskrunner` a handler of its own, for as long as a supervisor runs in a process of its own.
Programs that configure logging themselves can use the filter and the formatters on their handlers.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from taskrunner import events
from taskrunner.config import hide_passwords
from taskrunner.context import CURRENT
from taskrunner.events import Event, Events
from taskrunner.probes import PROBE

LOGGER: Final = logging.getLogger("taskrunner")

_JOB_FIELDS: Final = ("job_id", "task", "queue", "attempt")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TASKS_REMEMBERED: Final = 1000
_MOST_NAMED: Final = 5
"""Queues in one line."""


class JobFilter(logging.Filter):
    """Adds `job_id`, `task`, `queue` and `attempt` of the job that runs here to each record; empty
    where none does. What a record says of itself stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        job = CURRENT.get(None)
        known: Mapping[str, Any] = (
            {"job_id": job.id, "task": job.task, "queue": job.queue, "attempt": job.attempt}
            if job is not None and not hasattr(record, "job_id")
            else {}
        )
        for name in _JOB_FIELDS:
            if not hasattr(record, name):
                setattr(record, name, known.get(name, ""))
        return True


class TextFormatter(logging.Formatter):
    """One line for people; what follows a line break in a message is indented, and control
    characters are escaped, so that no message can pass for another."""

    def format(self, record: logging.LogRecord) -> str:
        when = (
            datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        )
        text = record.getMessage()
        job = " ".join(str(getattr(record, name, "")) for name in ("task", "job_id")).strip()
        lines = [f"{text} [{job}]" if job else text]
        lines += [self.formatException(record.exc_info)] if record.exc_info else []
        return f"{when} {record.levelname:<7} {_indented(lines)}"


def _indented(lines: list[str]) -> str:
    return printable("\n".join(lines)).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, what is known of the job,
    and for an event its name and payload."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": when,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event = getattr(record, "event", None)
        if isinstance(event, Event):
            fields |= {"event": type(event).__name__, **asdict(event)}
        job = {name: getattr(record, name, "") for name in _JOB_FIELDS}
        fields |= {name: value for name, value in job.items() if value != ""}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        shown = {key: _hidden(value) for key, value in fields.items()}
        return json.dumps(shown, default=str)


def _hidden(value: Any) -> Any:
    return hide_passwords(value) if isinstance(value, str) else value


def printable(text: str) -> str:
    """The text as it may be shown in a terminal or a log: control characters other than tab and
    line feed escaped, what UTF-8 cannot carry too, passwords of URLs hidden."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], hide_passwords(text))


_FORMATTERS: Final[Mapping[str, type[logging.Formatter]]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
}


def configure(level: str, style: str, stream: TextIO | None = None) -> Callable[[], None]:
    """Write what the logger `taskrunner` is told to `stream`, standard error unless given; call
    the answer to have everything as it was before.

    `level` and `style` are the settings `log_level` and `log_format`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(JobFilter())
    handler.setFormatter(_FORMATTERS[style]())
    level_before, propagate_before = LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False

    def restore() -> None:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level_before)
        LOGGER.propagate = propagate_before

    return restore


class EventLog:
    """Logs every event it is told of."""

    def __init__(self, emitter: Events | None = None) -> None:
        self._parked: set[str] = set()
        if emitter is not None:
            emitter.subscribe(self)

    def __call__(self, event: Event) -> None:
        level, text = describe(event)
        is_parked = isinstance(event, events.UnknownTaskParked | events.LaterMessageParked)
        if is_parked and self._said_before(text):
            level = logging.DEBUG
        about = {name: getattr(event, name, "") for name in _JOB_FIELDS}
        LOGGER.log(level, "%s", text, extra={**about, "event": event})

    def _said_before(self, text: str) -> bool:
        # A thousand jobs of one unknown task are one warning.
        before = text in self._parked
        if len(self._parked) < _TASKS_REMEMBERED:
            self._parked.add(text)
        return before


def describe(event: Event) -> tuple[int, str]:
    """The level and the text of the line for an event. An event that this module does not know,
    a program's own, is shown as it is."""
    known = _LINES.get(type(event))
    if known is None:
        return logging.INFO, repr(event)
    level, text = known
    return level(event) if callable(level) else level, text(event)


def _node_started(event: events.NodeStarted) -> str:
    served = "every queue" if event.queues is None else "queues " + ", ".join(event.queues)
    return f"node {event.node} started: {_count(event.processes, 'process')}, {served}"


def _node_stopping(event: events.NodeStopping) -> str:
    if not event.running:
        return "stopping"
    return f"stopping: {_count(event.running, 'job')} may finish within {event.timeout_s:g} s"


def _child_died(event: events.ChildDied) -> str:
    if event.signal is not None:
        how = f"was killed by {_signal_name(event.signal)}"
    else:
        how = "ended" if event.status is None else f"exited with status {event.status}"
    parts = [f"child {event.number} (pid {event.pid}) {how}; it held {_count(event.held, 'job')}"]
    if event.why:
        parts.append(event.why)
    if event.peak_memory_kib:
        parts.append(f"its memory had peaked at {event.peak_memory_kib / 1024:.0f} MiB")
    text = "; ".join(parts)
    return f"{text}; its threads were here:\n{event.stacks}" if event.stacks else text


def _child_too_big(event: events.ChildTooBig) -> str:
    return (
        f"child {event.number} (pid {event.pid}) takes {event.resident / 2**20:.0f} MiB of memory"
        f" (limit {event.limit / 2**20:.0f} MiB) and is replaced when this has ended:"
        f" {', '.join(event.runs) or 'what it reports just now'}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _queues(names: Sequence[str]) -> str:
    """Some of them by name: there may be thousands."""
    shown = ", ".join(names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"the queue{'s' * (len(names) > 1)} {shown}{more}"


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def _pool_resized(event: events.PoolResized) -> str:
    count = _count(event.processes, "process")
    kept = event.processes == event.before
    return f"{count} as before: {event.why}" if kept else f"{count} now: {event.why}"


def _reloaded(event: events.Reloaded) -> str:
    text = f"new code is in place, in {_count(event.processes, 'process')}"
    for what, names in (("new tasks", event.new), ("gone", event.gone)):
        text += f"; {what}: {', '.join(names)}" if names else ""
    return text


def _reload_failed(event: events.ReloadFailed) -> str:
    text = f"no new code, that of before goes on: {event.error}"
    return f"{text}\n{event.traceback.rstrip()}" if event.traceback else text


def _run_failed(event: events.RunFailed) -> str:
    then = "not retried" if event.retry_in is None else f"again in {event.retry_in:.3g} s"
    return f"run failed: {event.error}; {then}"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _level_of_command(event: events.CommandHeard) -> int:
    if not event.known:
        return logging.WARNING
    return logging.DEBUG if event.do == PROBE else logging.INFO


def _command_heard(event: events.CommandHeard) -> str:
    then = "" if event.known else ", which this version does not know: nothing is done"
    return f"somebody asks this node to {event.do!r}{then}"


_Level = int | Callable[[Any], int]

_LINES: Final[Mapping[type[Event], tuple[_Level, Callable[[Any], str]]]] = {
    events.NodeStarted: (logging.INFO, _node_started),
    events.NodeStopping: (logging.INFO, _node_stopping),
    events.NodeStopped: (logging.INFO, lambda _: "stopped"),
    events.NodeWasLost: (
        logging.ERROR,
        lambda _: (
            "the store had not heard of this node for a lease and took its jobs back;"
            " it goes on under a new id"
        ),
    ),
    events.ChildStarted: (logging.DEBUG, lambda e: f"child {e.number} (pid {e.pid}) started"),
    events.ChildReady: (logging.DEBUG, lambda e: f"child {e.number} (pid {e.pid}) is ready"),
    events.ChildDied: (
        # One that ended by itself with nothing in it was asked to.
        lambda e: logging.ERROR if e.status != 0 or e.held else logging.DEBUG,
        _child_died,
    ),
    events.ChildReplaced: (
        logging.INFO,
        lambda e: f"child {e.number} (pid {e.pid}) is replaced: {e.why}",
    ),
    events.ChildTooBig: (logging.WARNING, _child_too_big),
    events.MemoryLimitTooLow: (
        logging.WARNING,
        lambda e: (
            f"a child that has run nothing yet takes {e.resident / 2**20:.0f} MiB of memory, and"
            f" max_memory_bytes is {e.limit / 2**20:.0f} MiB: no child can keep to that"
        ),
    ),
    events.PoolResized: (logging.INFO, _pool_resized),
    events.PoolBounded: (
        logging.INFO,
        lambda e: f"{_count(e.processes, 'process')}, though work waits for more: {e.why}",
    ),
    events.Reloading: (logging.INFO, lambda _: "importing the application anew"),
    events.Reloaded: (logging.INFO, _reloaded),
    events.ReloadFailed: (logging.ERROR, _reload_failed),
    events.RunFailed: (
        lambda e: logging.ERROR if e.retry_in is None else logging.WARNING,
        _run_failed,
    ),
    events.JobsReturned: (
        logging.INFO,
        lambda e: f"{_count(e.count, 'job')} went back to the queue: {e.why}",
    ),
    events.OutcomeFenced: (
        logging.WARNING,
        lambda _: "an outcome was refused: the job belongs to another delivery by now",
    ),
    events.OutcomeDropped: (
        logging.ERROR,
        lambda e: f"an outcome was dropped, because the store cannot take it: {e.error}",
    ),
    events.UnknownTaskParked: (
        logging.WARNING,
        lambda e: f"this node knows no task {e.task!r}: its jobs wait for one that does",
    ),
    events.NodeKeptFree: (
        logging.WARNING,
        lambda e: (
            f"{_count(e.losses, 'node')} went down with this job: until it has ended this one runs"
            " nothing else"
        ),
    ),
    events.LaterMessageParked: (
        logging.WARNING,
        lambda e: (
            f"this node cannot read messages of version {e.version}: they wait for a node of a later"
            " taskrunner"
        ),
    ),
    events.MessageUnreadable: (
        logging.ERROR,
        lambda e: f"a job's message cannot be read, the job failed: {e.reason}",
    ),
    events.BrokerLost: (
        logging.ERROR,
        lambda e: f"the broker {e.url} is away, trying again until it is back: {e.error}",
    ),
    events.BrokerBack: (logging.INFO, lambda e: f"the broker is back after {e.away_s:.1f} s"),
    events.QueuesLost: (
        logging.ERROR,
        lambda e: f"a part of the broker is away, with {_queues(e.queues)}: {e.error}",
    ),
    events.QueuesBack: (logging.INFO, lambda e: f"the broker has {_queues(e.queues)} again"),
    events.ServiceFailed: (
        logging.ERROR,
        lambda e: f"the {e.service} thread failed and goes on: {e.error}\n{e.traceback.rstrip()}",
    ),
    events.ThreadsAtImport: (
        logging.WARNING,
        lambda e: (
            "importing the application left threads running"
            f" ({', '.join(e.names)}): each child imports it by itself, which takes longer"
        ),
    ),
    events.HealthPortOpened: (
        logging.INFO,
        lambda e: f"health at http://{_host(e.host)}:{e.port}/livez and /readyz",
    ),
    events.CommandHeard: (
        _level_of_command,
        _command_heard,
    ),
    events.ScheduleDeclared: (
        logging.INFO,
        lambda e: f"schedule {e.schedule}, as the code declares it: {e.what}",
    ),
    events.ScheduleNotDeclared: (
        logging.WARNING,
        lambda e: f"schedule {e.schedule} is not as the code declares it: {e.why}",
    ),
    events.ScheduleUnreadable: (
        logging.ERROR,
        lambda e: f"schedule {e.schedule} cannot be followed by this node: {e.why}",
    ),
    events.ScheduleHeldUp: (
        logging.WARNING,
        lambda e: f"schedule {e.schedule} is due, and nothing can be submitted: {e.why}",
    ),
    # At a level that is seen: somebody asked for it.
    events.Dump: (logging.WARNING, lambda e: e.text),
}
