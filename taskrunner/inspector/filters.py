"""Which jobs are meant: by queue, state and time, which the store finds by an index, and by task and
text, for which each job is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

from taskrunner.brokers.base import ALWAYS, BY_TIME, Span
from taskrunner.errors import OptionError
from taskrunner.jobinfo import JobInfo
from taskrunner.options import moment, validate_queue_name, wrong
from taskrunner.states import FINISHED, State

LONGEST_TEXT: Final = 255

Names = str | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Jobs that fit all that is said. Make one by `of`."""

    queues: tuple[str, ...] | None = None
    """None: every queue"""
    states: tuple[State, ...] = tuple(State)
    task: str | None = None
    """a task's name, in which * and ? stand for anything"""
    text: str | None = None
    """what the id, the task's name, the reason, an error, a header or, with `in_data`, an argument
    contains, in any case of letters"""
    span: Span = ALWAYS
    """when they fall due (scheduled, retrying), ended (finished), or were submitted (others)"""
    in_data: bool = True
    allowed: Callable[[JobInfo], bool] | None = None
    """what else must be true of a job"""

    @classmethod
    def of(
        cls,
        *,
        queue: Names = None,
        state: Names = None,
        task: str | None = None,
        text: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        in_data: bool = True,
        allowed: Callable[[JobInfo], bool] | None = None,
    ) -> JobFilter:
        """From what people say. Raises OptionError, naming what is wrong."""
        queues = None if queue is None else [validate_queue_name(name) for name in _each(queue)]
        states = None if state is None else [_state(name) for name in _each(state)]
        span = Span(
            None if since is None else moment("since", since),
            None if until is None else moment("until", until),
        )
        return cls(
            queues=None if queues is None else tuple(sorted(set(queues))),
            states=tuple(State) if states is None else tuple(s for s in State if s in states),
            task=_text("task", task),
            text=_text("text", text),
            span=span,
            in_data=in_data,
            allowed=allowed,
        )

    @property
    def looks_at_jobs(self) -> bool:
        """Whether an index alone does not answer which jobs are meant."""
        return self.span != ALWAYS or any((self.task, self.text, self.allowed))

    def span_in(self, state: State) -> Span:
        """What the index of a state can be asked for."""
        return self.span if state in BY_TIME else ALWAYS

    def fits(self, info: JobInfo) -> bool:
        """Whether a job of a queue and state that are meant is meant itself."""
        if self.task is not None and not fnmatchcase(info.task, self.task):
            return False
        if not self.span.holds(_moment_of(info)):
            return False
        if self.text is not None and not self._contains(info, self.text.casefold()):
            return False
        return self.allowed is None or self.allowed(info)

    def _contains(self, info: JobInfo, text: str) -> bool:
        return any(text in part.casefold() for part in self._parts(info))

    def _parts(self, info: JobInfo) -> Iterable[str]:
        yield from (info.id, info.task, info.reason or "")
        if self.in_data:
            yield from info.headers.values()
            for error in info.errors:
                yield from (error.type, error.message)
            for value in (info.args or ()), (info.kwargs or {}):
                yield repr(value)


def _moment_of(info: JobInfo) -> float:
    record = info.record
    if record.state in (State.SCHEDULED, State.RETRYING) and record.eta is not None:
        return record.eta
    if record.state in FINISHED and record.finished_at is not None:
        return record.finished_at
    return record.created_at


def _each(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _state(name: str) -> State:
    try:
        return State(name)
    except ValueError:
        raise OptionError(f"state={name!r}: expected one of {', '.join(State)}") from None


def _text(option: str, value: str | None) -> str | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT):
        return value
    raise wrong(option, value, f"1 to {LONGEST_TEXT} characters")
