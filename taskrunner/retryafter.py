"""What a remote service says of when to come back, as the Retry that does so.

answer = client.get(url)
if answer.status_code in (429, 503):
    raise retry_after(answer)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.errors import OptionError, Retry

HEADER: Final = "retry-after"
_LONGEST_TEXT: Final = 100


def retry_after(
    source: object,
    *,
    maximum: float = 3600.0,
    default: float | None = None,
    count: bool = False,
) -> Retry:
    """The Retry to raise, after as long as a `Retry-After` header says.

    `source` is a response (anything with `headers`, as of httpx, requests, aiohttp or urllib), its
    headers, or the header's value: seconds, or a date of HTTP, which is compared with the response's
    own `Date` where there is one. However much it says, `maximum` seconds at most. Where there is no
    such header, or none that can be read: `default` seconds; None: as the task's backoff says.
    Unless `count`, it is not counted as an error: without an end, as long as the service says so.

    Raises OptionError for a source that is none of these, and for a maximum or default that is not a
    number of seconds.
    """
    for name, value in (("maximum", maximum), ("default", default)):
        if value is not None and not _is_seconds(value):
            raise OptionError(f"retry_after {name}={value!r}: expected seconds, 0 or more")
    said, date = _said(source)
    delay = None if said is None else _delay(said, date)
    delay = default if delay is None else delay
    return Retry(delay=None if delay is None else min(delay, maximum), count=count)


def _said(source: object) -> tuple[str | None, str | None]:
    """The header's text, and that of the date beside it."""
    if isinstance(source, (str, bytes, int, float)) and not isinstance(source, bool):
        return _text(source), None
    headers = source if isinstance(source, Mapping) else getattr(source, "headers", None)
    items = getattr(headers, "items", None)
    if items is None:
        raise OptionError(
            f"retry_after({source!r}): expected a response with headers, headers, seconds or a date"
        )
    found = {_text(name).lower(): _text(value) for name, value in items()}
    return found.get(HEADER), found.get("date")


def _text(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.strip()


def _delay(said: str, date: str | None) -> float | None:
    """Seconds; None: it cannot be read. A moment that has passed is 0."""
    try:
        seconds = float(said)
    except ValueError:
        until = _moment(said)
        since = _moment(date) if date else None
        since = SYSTEM_CLOCK.wall() if since is None else since
        return None if until is None else max(0.0, until - since)
    return seconds if _is_seconds(seconds) else None


def _moment(text: str) -> float | None:
    """Seconds since the epoch."""
    try:
        return parsedate_to_datetime(text[:_LONGEST_TEXT]).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _is_seconds(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[arg-type,operator]
