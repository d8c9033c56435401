"""What a client says: calls as requests, values and options as JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from taskrunner.errors import ArgumentError, OptionError
from taskrunner.naming import qualified_name, type_name
from taskrunner.options import Options
from taskrunner.retry import Backoff
from taskrunner.unique import Unique


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = False
    """whether it may be sent again where nobody knows what became of it"""
    waits: float = 0.0
    """seconds for which the answer may be held back on purpose"""


def get(path: str, waits: float = 0.0, **query: Any) -> Call:
    """A question."""
    said = {name: _said(name, value) for name, value in query.items() if value not in (None, "")}
    return Call("GET", path, query=said, is_repeatable=True, waits=waits)


def path_of(*parts: str) -> str:
    """`/v1` and what stands below it."""
    return "/".join(["/v1", *(quote(part, safe="") for part in parts)])


def submission(
    task: object, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """A job as the service takes it. Raises OptionError, ArgumentError."""
    name = task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str):
        raise OptionError(f"task={task!r}: expected the name of a task, or a task")
    if not isinstance(args, (list, tuple)):
        raise ArgumentError(f"args={args!r}: expected a list or tuple of arguments")
    Options.of(**options)
    return {
        "task": name,
        "args": [_carried(f"args[{at}]", value) for at, value in enumerate(args)],
        "kwargs": _carried("kwargs", dict(kwargs or {})),
        **{option: _said(option, value) for option, value in options.items() if value is not None},
    }


def _said(option: str, value: Any) -> Any:
    """An option as JSON. Raises OptionError for one that cannot be said from afar."""
    match value:
        case timedelta():
            return value.total_seconds()
        case datetime():
            if value.utcoffset() is None:
                raise OptionError(f"{option}={value!r}: expected a datetime with a time zone")
            return value.isoformat()
        case Backoff():
            return asdict(value)
        case Unique():
            return _unique(value)
        case type():
            return [qualified_name(value)]
        case str() | Mapping():
            return [value] if option == "retry_on" else value
        case Iterable():
            return [qualified_name(v) if isinstance(v, type) else v for v in value]
        case _:
            return value


def rule_said(said: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a rule, or other times, as JSON."""
    found: dict[str, Any] = {}
    for name, value in said.items():
        if value is None:
            continue
        is_moment = isinstance(value, datetime)
        seconds = getattr(value, "total_seconds", None)
        found[name] = value.isoformat() if is_moment else seconds() if seconds else value
        if name == "timezone":
            found[name] = str(value)
    return found


def _unique(value: Unique) -> dict[str, Any]:
    if callable(value.key):
        raise OptionError(
            "unique: a key that is a function is called where the task is declared: give its value"
        )
    found = {"key": value.key, "until": value.until, "on_conflict": value.on_conflict}
    return {**found, "seconds": value.window}


def _carried(place: str, value: Any) -> Any:
    """An argument as JSON, which has fewer kinds of values. Raises ArgumentError, naming the place."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ArgumentError(f"{place} is {value}: JSON has no number for it")
            return value
        case list() | tuple():
            return [_carried(f"{place}[{at}]", item) for at, item in enumerate(value)]
        case dict():
            for key in value:
                if type(key) is not str:
                    raise ArgumentError(
                        f"{place} has the key {key!r}: JSON has text for keys alone"
                    )
            return {key: _carried(f"{place}[{key!r}]", item) for key, item in value.items()}
        case _:
            raise ArgumentError(
                f"{place} is of type {type_name(value)}, which JSON cannot carry: send text"
            )
