"""What a child says, looked at before anything is done with it.

A frame may be well-formed msgpack and yet be nonsense: a task can write to any descriptor of its
process. What does not have the shape of its kind is refused here as a whole, so that nothing
behind this needs to ask again whether an outcome is one, and no store is asked to keep a NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from taskrunner.brokers.base import Blame, Outcome, OutcomeKind
from taskrunner.context import PROGRESS_TEXT_LIMIT
from taskrunner.frames import FrameError, Kind
from taskrunner.message import LONGEST

MOST_PROGRESS_BYTES: Final = 8 * PROGRESS_TEXT_LIMIT

Check = Callable[[Any], bool]

_NONE: Final = type(None)
_BYTES: Final[set[type]] = {bytes, _NONE}
_TEXT: Final[set[type]] = {str, _NONE}
_NUMBER: Final[set[type]] = {int, float}
_TYPES: Final[Mapping[str, set[type]]] = {
    "queue": {str},
    "id": {str},
    "number": {int},
    "kind": {int},
    "started": {bool},
    "ran": _NUMBER,
    "result": _BYTES,
    "retention": _NUMBER,
    "error": _BYTES,
    "reason": _TEXT,
    "delay": _NUMBER,
    "blame": {int},
    "park_key": _TEXT,
}
assert tuple(_TYPES) == Outcome._fields
_KIND, _RAN, _RETENTION, _DELAY, _BLAME = map(
    Outcome._fields.index, ("kind", "ran", "retention", "delay", "blame")
)
_COLUMNS: Final = tuple(frozenset(kinds) for kinds in _TYPES.values())
_KINDS: Final = frozenset(map(int, OutcomeKind))
_BLAMES: Final = frozenset(map(int, Blame))


def _are_outcomes(rows: Any) -> bool:
    """By column, at the speed of C: this runs for every job."""
    if type(rows) is not list or set(map(type, rows)) - {list}:
        return False
    try:
        columns = list(zip(*rows, strict=True))
    except ValueError:  # of different lengths
        return False
    if len(columns) != len(_COLUMNS):
        return not rows
    for kinds, column in zip(_COLUMNS, columns, strict=True):
        if not kinds.issuperset(map(type, column)):
            return False
    seconds = columns[_RAN] + columns[_RETENTION] + columns[_DELAY]
    return (
        _KINDS.issuperset(columns[_KIND])
        and _BLAMES.issuperset(columns[_BLAME])
        and min(seconds) >= 0
        and max(seconds) <= LONGEST
        and sum(seconds) >= 0  # a NaN is neither small nor large
    )


def _of_type(kind: type) -> Check:
    return lambda value: type(value) is kind


def _are_numbers(value: Any) -> bool:
    return type(value) is list and not set(map(type, value)) - {int}


def _anything(_: Any) -> bool:
    return True


def _is_progress(value: Any) -> bool:
    return type(value) is bytes and len(value) <= MOST_PROGRESS_BYTES


_number, _text = _of_type(int), _of_type(str)

SHAPES: Final[Mapping[int, tuple[Check, ...]]] = {
    Kind.READY: (),
    Kind.DONE: (_are_outcomes,),
    Kind.TAKEN: (_number, _are_numbers),
    Kind.CALL: (_number, _number, _text, _anything),
    Kind.PROGRESS: (_number, _is_progress),
    Kind.BLOCKED: (_number, _of_type(bool)),
    Kind.BEAT: (),
    Kind.PROBED: (_number, _of_type(bool)),
}
"""By what a child may send: what each value behind the kind must be."""


def checked(frame: list[Any]) -> list[Any]:
    """The frame, if it is one that a child may send. Raises FrameError."""
    kind, *values = frame
    shape = SHAPES.get(kind)
    if shape is None:
        raise FrameError(f"frame of kind {kind}, which no child sends")
    if len(values) != len(shape) or not all(map(_fits, shape, values)):
        raise FrameError(f"a frame {Kind(kind).name} that makes no sense")
    return frame


def _fits(check: Check, value: Any) -> bool:
    return check(value)
