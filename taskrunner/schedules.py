"""What a schedule is: a rule that says when, and a job that says what. Pure.

    add(name, task, cron=…)  ─▶ rule ────┐
        args, options        ─▶ template ┴─▶ Schedule ─▶ pack ─▶ a record of the store
                                                 │
                                                 └─ with a slot ─▶ the message of one job

A stored schedule holds all that a node needs to submit its jobs: none of them needs the code of the
task for that. It is a msgpack map; a newer version than this one knows is refused, since whoever
wrote it may mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from math import ceil
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgpack

from taskrunner.cron import Slot
from taskrunner.errors import MessageError, OptionError
from taskrunner.ids import new_id
from taskrunner.message import DEFAULT, Lock, Message, Timing, unpack
from taskrunner.naming import nearest
from taskrunner.options import (
    OPTION_NAMES,
    OptionArguments,
    Options,
    Seconds,
    moment,
    seconds,
    wrong,
)
from taskrunner.seals import SCHEDULE_HEADER, SLOT_HEADER
from taskrunner.timeline import CATCH_UP, OVERLAP, CatchUp, Overlap, Rule, Timeline
from taskrunner.zones import in_zone, zone_of

VERSION: Final = 1
LONGEST_NAME: Final = 255
SHORTEST_INTERVAL: Final = 0.01
EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC).timestamp()
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""A day from where datetimes begin and end: no zone is further from UTC than that."""
_LAST_REVISION: Final = 2**53
MOST_CAUGHT_UP: Final = 1000


class RuleArguments(OptionArguments, total=False):
    """What `app.schedules.add` and `@app.cron` take besides what to run, for type checkers."""

    cron: str | None
    every: Seconds | None
    timezone: str | ZoneInfo
    start: datetime | None
    end: datetime | None
    jitter: Seconds
    catch_up: CatchUp
    max_catch_up: int
    overlap: Overlap


RULE_NAMES: Final = tuple(f.name for f in fields(Rule))


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is stored. Moments are seconds since the epoch, by the store's clock."""

    name: str
    rule: Rule
    template: Message
    """the job of each slot. Its id is empty unless all of them shall have this one"""
    owner: str = ""
    """the application that declares it in its code; empty: it was made at run time"""
    declared: str = ""
    """the fingerprint of the declaration that was last put into effect"""
    said: str = ""
    """the fingerprint of what was said of it last, in code or at run time"""
    revision: int = 0
    """grows with each change: a node that knows an older one may submit nothing any more"""
    after: float = 0.0
    """slots that are not later are none of its own"""
    created_at: float = 0.0
    paused: bool = False
    moved_from: str = ""
    """the queue in which its slots were claimed before, until that is known to be closed"""

    @property
    def queue(self) -> str:
        return self.template.queue

    def fingerprint(self) -> str:
        """The same for schedules of which users say the same."""
        said = [asdict(self.rule), _job_to_wire(self.template)]
        return sha256(msgpack.packb(said)).hexdigest()[:32]

    def job(self, slot: Slot | None, job_id: str = "") -> Message:
        """The message of one slot's job; None: of one that was triggered by hand."""
        template = self.template
        headers = {**template.header.headers, SCHEDULE_HEADER: self.name}
        if slot is not None:
            headers[SLOT_HEADER] = in_zone(slot.at, UTC).isoformat()
        header = replace(template.header, headers=MappingProxyType(headers))
        if template.id:
            return replace(template, header=header, call=new_id())
        return replace(template, header=header, id=job_id or new_id())

    def pack(self) -> bytes:
        """What the store keeps."""
        found: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _PACKED_APART
        }
        rule, job = asdict(self.rule), _job_to_wire(self.template)
        return bytes(msgpack.packb({"v": VERSION, "rule": rule, "job": job, **found}))

    @classmethod
    def unpack(cls, name: str, packed: bytes) -> Schedule:
        """What `pack` made. Raises MessageError for what this version cannot read."""
        try:
            found = msgpack.unpackb(packed)
            if found["v"] != VERSION:
                raise MessageError(f"version {found['v']!r}; this one reads version {VERSION}")
            state = {key: _of_kind(found[key], kind) for key, kind in _STATE.items()}
            if not 0 <= state["revision"] <= _LAST_REVISION:
                raise ValueError(f"a revision of {state['revision']}")
            _moments(state["after"], state["created_at"])
            rule, job = _rule_from_wire(found["rule"]), _job_from_wire(found["job"])
            return cls(name=name, rule=rule, template=job, **state)
        except MessageError:
            raise
        except Exception as error:  # whatever it is that somebody wrote there
            raise MessageError(f"not a schedule: {type(error).__name__}: {error}") from error


_PACKED_APART: Final = frozenset({"name", "rule", "template"})
_STATE: Final = {f.name: type(f.default) for f in fields(Schedule) if f.name not in _PACKED_APART}


def _of_kind(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _moments(*found: Any) -> None:
    """Refuse what is no moment that can be shown in every zone."""
    for one in found:
        if one is not None and not EARLIEST <= _of_kind(one, float) <= LATEST:
            raise ValueError(f"a moment of {one} seconds")


def _rule_from_wire(found: Mapping[str, Any]) -> Rule:
    """A rule of the right types. Whether it can be followed here its Timeline says."""
    rule = Rule(**{name: found[name] for name in RULE_NAMES})
    _moments(rule.start, rule.end)
    for number in (rule.every, rule.jitter):
        _of_kind(number or 0.0, float)
    _of_kind(rule.timezone, str)
    _cron("cron", rule.cron)
    _jitter("jitter", rule.jitter)
    if (rule.cron is None) == (_every("every", rule.every) is None):
        raise ValueError("neither cron nor every, or both")
    for name in ("max_catch_up", "catch_up", "overlap"):
        _ACCEPT[name](name, getattr(rule, name))
    return rule


def _job_to_wire(job: Message) -> list[Any]:
    timing = [getattr(job.timing, f.name) for f in fields(Timing)]
    found = [job.id, job.queue, job.wire, job.priority, timing]
    return found if job.lock is None else [*found, list(job.lock)]


def _job_from_wire(found: list[Any]) -> Message:
    job_id, queue, wire, priority, timing, *locks = found
    header, body = unpack(wire)
    when = Timing(*timing)
    _moments(when.eta, when.expires_at, when.deadline)
    Options.of(
        queue=_of_kind(queue, str),
        priority=_of_kind(priority, int),
        job_id=_of_kind(job_id, str) or None,  # none: each job gets one of its own
        delay=when.delay,
        expires=when.expires_in,
    )
    made = Message(job_id, queue, header, body, priority, when)
    return replace(made, lock=Lock.of(locks[0])) if locks else made


# -- what users say


def check_name(name: object) -> str:
    """The name, or OptionError saying what a schedule may be called."""
    if (
        isinstance(name, str)
        and 1 <= len(name) <= LONGEST_NAME
        and name.isprintable()
        and not any(letter.isspace() for letter in name)
    ):
        return str(name)
    raise wrong("name", name, f"1 to {LONGEST_NAME} printable characters without spaces")


def rule_of(name: str, said: Mapping[str, Any]) -> Rule:
    """The rule that users mean. Raises OptionError naming what is wrong, and what is accepted."""
    found = {option: _ACCEPT[option](option, value) for option, value in said.items()}
    rule = Rule(**{option: value for option, value in found.items() if value is not None})
    if (rule.cron is None) == (rule.every is None):
        both = "were both given" if rule.cron is not None else "are both missing"
        raise OptionError(
            f"cron and every {both}: expected one of them, cron='0 3 * * *' or every=60.0 (seconds)"
        )
    if rule.start is not None and rule.end is not None and rule.end < rule.start:
        raise OptionError(
            f"end={said['end']!r} is before start={said['start']!r}: expected a later one"
        )
    Timeline(name, rule)  # the expression is tried out
    return rule


def split(said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of the keywords is of the rule, and what are options of the jobs. Raises OptionError for
    an unknown one."""
    known = (*RULE_NAMES, *OPTION_NAMES)
    for option in said:
        if option not in known:
            raise OptionError(f"unknown option {option!r}: {nearest(option, known)}")
        if option == "durability" and said[option] not in (None, DEFAULT):
            raise wrong(option, said[option], f"{DEFAULT!r}: nobody waits for a schedule's jobs")
    rule = {option: value for option, value in said.items() if option in RULE_NAMES}
    return rule, {option: value for option, value in said.items() if option not in RULE_NAMES}


def _cron(option: str, value: object) -> str | None:
    # What it says is judged where it is put to use.
    if value is None or isinstance(value, str):
        return value
    raise wrong(option, value, "a cron expression as text, for example '0 3 * * *'")


def _every(option: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        return max(SHORTEST_INTERVAL, round(seconds(option, value, lowest=SHORTEST_INTERVAL), 3))
    except OptionError:
        accepts = f"seconds (fractions count) or a timedelta, {SHORTEST_INTERVAL} or more"
        raise wrong(option, value, accepts) from None


def _timezone(option: str, value: object) -> str:
    return zone_of(value, option).key


def _moment(option: str, value: object) -> float | None:
    if value is None:
        return None
    return min(max(EARLIEST, ceil(moment(option, value) * 1000) / 1000), LATEST)


def _jitter(option: str, value: object) -> float:
    return round(seconds(option, value), 3)


def _count(option: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_CAUGHT_UP:
        return int(value)
    raise wrong(option, value, f"a whole number from 1 to {MOST_CAUGHT_UP}")


def _one_of(*accepted: str) -> Any:
    def accept(option: str, value: object) -> str:
        if isinstance(value, str) and value in accepted:
            return value
        raise wrong(option, value, " or ".join(repr(one) for one in accepted))

    return accept


_ACCEPT: Final[Mapping[str, Any]] = {
    "cron": _cron,
    "every": _every,
    "timezone": _timezone,
    "start": _moment,
    "end": _moment,
    "jitter": _jitter,
    "catch_up": _one_of(*CATCH_UP),
    "max_catch_up": _count,
    "overlap": _one_of(*OVERLAP),
}
assert tuple(_ACCEPT) == RULE_NAMES
