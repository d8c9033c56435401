"""Arguments that are shown to nobody: `@app.task(redact=("card",))`.

    declaration ─▶ marks ─▶ header ─▶ whoever shows a job, with the task's code or without
                     └─▶ worker process: errors of a run, before they are kept

A mark is the name of a parameter, or the place of an argument that was given without a name: `1`, or
`2+` for all from there on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from taskrunner.errors import OptionError
from taskrunner.hiding import HIDDEN
from taskrunner.naming import nearest

Marks = tuple[str, ...]
Scrub = Callable[[str], str]
SHORTEST: Final = 4
"""A value whose text has fewer letters is not looked for in errors: it would be found in every word."""
_DEEPEST: Final = 10

_BY_PLACE: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


def marks_of(signature: inspect.Signature, redact: object) -> Marks:
    """What `redact` comes to for a function. Raises OptionError for what names no parameter."""
    names = None if isinstance(redact, (str, bytes)) else redact
    if not isinstance(names, Iterable):
        raise OptionError(f"redact={redact!r}: expected names of parameters, such as ('card',)")
    marks: list[str] = []
    for name in names:
        marks += _marks(signature, name)
    return tuple(dict.fromkeys(marks))


def _marks(signature: inspect.Signature, name: object) -> Iterator[str]:
    parameters = signature.parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    if not isinstance(name, str) or not (name in parameters or (takes_any and name.isidentifier())):
        raise OptionError(
            f"redact: there is no parameter {name!r}; {nearest(str(name), parameters)}"
        )
    yield name
    by_place = [one for one in parameters.values() if one.kind in _BY_PLACE]
    for at, one in enumerate(by_place):
        if one.name == name:
            yield f"{at}+" if one.kind is inspect.Parameter.VAR_POSITIONAL else str(at)
    found = parameters.get(name)
    if found is not None and found.kind is inspect.Parameter.VAR_KEYWORD:
        raise OptionError(f"redact: {name!r} takes arguments by any name: expected those names")


def hidden(
    marks: Marks, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as they may be shown."""
    if not marks:
        return args, dict(kwargs)
    return (
        tuple(HIDDEN if _hides_place(marks, at) else value for at, value in enumerate(args)),
        {n: HIDDEN if n in marks else value for n, value in kwargs.items()},
    )


def scrubber(marks: Marks, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scrub:
    """What takes the values of such arguments out of a text, and leaves other texts as they are."""
    if not marks:
        return str
    values = [value for at, value in enumerate(args) if _hides_place(marks, at)]
    values += [value for name, value in kwargs.items() if name in marks]
    texts = {text for value in values for text in _texts(value, _DEEPEST) if len(text) >= SHORTEST}
    # The longest first: what contains another is gone as a whole.
    wanted = sorted(texts, key=len, reverse=True)

    def scrub(text: str) -> str:
        for found in wanted:
            text = text.replace(found, HIDDEN)
        return text

    return scrub


def _hides_place(marks: Marks, at: int) -> bool:
    return str(at) in marks or any(
        mark.endswith("+") and at >= int(mark[:-1]) for mark in marks if mark[:-1].isdecimal()
    )


def _texts(value: Any, deep: int) -> Iterator[str]:
    """How a value, and what is in it, would read in an error."""
    if deep == 0 or value is None or isinstance(value, bool):
        return
    if isinstance(value, Mapping):
        for item in value.values():  # keys are names of fields, which say what is wrong where
            yield from _texts(item, deep - 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _texts(item, deep - 1)
    elif isinstance(value, bytes):
        yield repr(value)[2:-1]
    else:
        yield from _shown(value)
        if hasattr(value, "__dict__"):
            yield from _texts(vars(value), deep - 1)


def _shown(value: Any) -> Iterator[str]:
    try:
        yield str(value)
        yield repr(value)
        yield repr(value).strip("'\"")
    except Exception:  # noqa: BLE001  a user's class may raise anything, and then shows nothing
        return


__all__ = ["Marks", "Scrub", "hidden", "marks_of", "scrubber"]
