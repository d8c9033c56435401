"""What a setting may accept: in words, and as a test. `_settings` says which accepts what."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskrunner.crypto import ACCEPTED, keys_of
from taskrunner.message import LONGEST
from taskrunner.options import validate_queue_name

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGT])(i)?)?B?", re.IGNORECASE)


class Explained(ValueError):
    """A value that is not accepted, for a reason that is worth more than what would be."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting accepts: in words, and as a test."""

    accepts: str
    check: Callable[[Any], Any]
    """the value as the Config keeps it; raises ValueError or TypeError for one not accepted"""
    parse: Callable[[str], Any] = str
    """text, from the environment or the command line, to what `check` takes; raises ValueError"""


def whole(lowest: int, highest: int, *, none: str | None = None) -> Kind:
    """A whole number; `none` is the word that stands for None."""

    def check(value: Any) -> int | None:
        if none is not None and value == none:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError
        return value

    words = f"a whole number from {lowest} to {highest}"
    return Kind(f"{words}, or {none!r}" if none else words, check, _or_word(int, none))


def whole_or_range(lowest: int, highest: int) -> Kind:
    """A whole number, or text such as `2..16`, which stays text."""
    one = whole(lowest, highest)

    def check(value: Any) -> int | str:
        if not isinstance(value, str):
            return int(one.check(value))
        low, high = (one.check(int(part)) for part in value.split(".."))
        if low > high:
            raise ValueError
        return f"{low}..{high}"

    return Kind(f"{one.accepts}, or a range such as 2..16", check, _number_if_it_is_one)


def _number_if_it_is_one(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def seconds(lowest: float, *, none: str | None = None) -> Kind:
    """A number of seconds, fractions included; `none` is the word that stands for None."""

    def check(value: Any) -> float | None:
        if none is not None and value == none:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        if not math.isfinite(value) or not lowest <= value <= LONGEST:
            raise ValueError
        return float(value)

    words = f"seconds (fractions count), {lowest:g} or more"
    return Kind(f"{words}, or {none!r}" if none else words, check, _or_word(float, none))


def size(lowest: int, *, none: str) -> Kind:
    """A number of bytes, or text such as `512MiB`; `none` is the word that stands for None."""

    def check(value: Any) -> int | None:
        if value == none:
            return None
        found = _bytes_of(value) if isinstance(value, str) else value
        if isinstance(found, bool) or not isinstance(found, int) or not lowest <= found <= 2**60:
            raise ValueError
        return found

    return Kind(f"bytes, at least {lowest}, or a size such as 512MiB or 2GB, or {none!r}", check)


def _bytes_of(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError
    number, prefix, binary = found.groups()
    power = " KMGT".index((prefix or " ").upper())
    return round(float(number) * float(1024 if binary else 1000) ** power)


def _or_word(parse: Callable[[str], Any], word: str | None) -> Callable[[str], Any]:
    return lambda text: text if text == word else parse(text)


def choice(*values: str) -> Kind:
    """One of a few words, in any case."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in values:
            raise ValueError
        return value.lower()

    return Kind("one of " + ", ".join(values), check)


def yes_or_no() -> Kind:
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError
        return value

    return Kind("true or false", check, parse)


def keys() -> Kind:
    def check(value: Any) -> tuple[str, ...]:
        try:
            return keys_of(value)
        except ValueError as error:
            raise Explained(str(error)) from error

    return Kind(ACCEPTED, check)


def matching(pattern: re.Pattern[str], accepts: str) -> Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return Kind(accepts, check)


def decimal(lowest: float, highest: float, of: str) -> Kind:
    """A number, fractions included, of something."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        if not lowest <= value <= highest:
            raise ValueError
        return float(value)

    return Kind(f"{of}, from {lowest:g} to {highest:g}", check, float)


def path() -> Kind:
    """Where a file is."""

    def check(value: Any) -> str:
        found = os.fspath(value)
        if not isinstance(found, str) or not found or "\0" in found:
            raise ValueError
        return found

    return Kind("the path of a file", check)


def several(pattern: re.Pattern[str], accepts: str) -> Kind:
    """Some texts, from `a,b` or a list."""

    def check(value: Any) -> tuple[str, ...]:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, (list, tuple)):
            raise TypeError
        found = tuple(word.strip() for word in words)
        if not all(pattern.fullmatch(word) for word in found):
            raise ValueError
        return found

    return Kind(accepts, check)


def queues(value: Any) -> tuple[tuple[str, int], ...] | None:
    """Names and weights, from `a=2,b`, a list of names, a list of pairs or a table."""
    if value == "*":
        return None
    if isinstance(value, str):
        pairs = [_pair(part.strip()) for part in value.split(",") if part.strip()]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, (list, tuple)):
        pairs = [_pair(part) if isinstance(part, str) else tuple(part) for part in value]
    else:
        raise TypeError
    found = tuple((validate_queue_name(name), _WEIGHT.check(weight)) for name, weight in pairs)
    if not found or len({name for name, _ in found}) < len(found):
        raise ValueError
    return found


def _pair(text: str) -> tuple[str, int]:
    name, sign, weight = text.partition("=")
    return name.strip(), int(weight) if sign else 1


_WEIGHT: Final = whole(1, 1000)
