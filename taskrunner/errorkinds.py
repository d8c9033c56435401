"""Which errors of a task are retried, as users say it: by class, by name, or by a function of theirs.

Names travel with a job; a function is code, and is known only where the task is declared.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, Final

from taskrunner.errors import OptionError
from taskrunner.naming import qualified_name
from taskrunner.retry import Predicate

ERRORS: Final = (("retry_on", "retry_if"), ("give_up_on", "give_up_if"))
"""Options that take errors, and where the functions are kept that were given among them."""

_CLASS: Final = re.compile(r"[^\W\d]\w*(\.([^\W\d]\w*|<locals>))+")
_ACCEPTS: Final = (
    "exception classes, their qualified names as text ('builtins.OSError'), or functions that are "
    "called with the exception"
)


def accepted_errors(option: str, value: Any) -> tuple[tuple[str, ...], tuple[Predicate, ...]]:
    """The names and the functions among what was given. Raises OptionError."""
    given = [value] if isinstance(value, (type, str)) or callable(value) else value
    if not isinstance(given, Iterable):
        raise _wrong(option, value)
    names: list[str] = []
    functions: list[Predicate] = []
    for one in given:
        if isinstance(one, (type, str)):
            names.append(_name(option, one))
        else:
            functions.append(_function(option, one))
    return tuple(names), tuple(functions)


def check_errors(retried: Iterable[str] | None, given_up: Iterable[str] | None) -> None:
    """Raises OptionError where one kind is in both."""
    both = set(retried or ()) & set(given_up or ())
    if both:
        raise OptionError(
            f"retry_on and give_up_on both name {', '.join(sorted(both))}: expected it in one of them "
            "(give_up_on is the stronger: it may name a class whose base retry_on names)"
        )


def _name(option: str, kind: type | str) -> str:
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return qualified_name(kind)
    if isinstance(kind, str) and _CLASS.fullmatch(kind):
        return kind
    raise _wrong(option, kind)


def _function(option: str, given: object) -> Predicate:
    value: Any = given
    if not callable(given) or inspect.iscoroutinefunction(value):
        raise _wrong(option, value)
    try:
        inspect.signature(value).bind(OSError())
    except TypeError as error:
        raise OptionError(
            f"{option}={value!r}: expected a function of one argument, the exception ({error})"
        ) from None
    except ValueError:
        pass  # one written in C, which does not say what it takes
    found: Predicate = value
    return found


def _wrong(option: str, value: object) -> OptionError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    return OptionError(f"{option}={shown}: expected {_ACCEPTS}")
