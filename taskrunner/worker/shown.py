"""Exceptions as text, whatever their own parts do, and no longer than asked."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from taskrunner.errors import ArgumentError, CryptoError, TaskrunnerError

_SHORTEST_CUT = 80


def traceback_of(error: BaseException, limit: int, scrub: Callable[[str], str] = str) -> str:
    """The traceback as text, without our own frames, at most `limit` bytes; `scrub` takes out what
    must not be in it."""
    start = error.__traceback__
    while start is not None and _is_ours(start.tb_frame.f_globals.get("__name__", "")):
        start = start.tb_next
    try:
        parts = traceback.TracebackException(type(error), error, start, compact=True).format()
        return cut(scrub("".join(parts)), limit)
    except BaseException as broken:  # noqa: BLE001  an exception whose own parts raise
        return f"the traceback cannot be shown: {type(broken).__name__}"


def _is_ours(module: str) -> bool:
    return module.startswith(("taskrunner.worker", "asyncio", "concurrent.futures"))


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001  an exception whose __str__ raises
        return f"its message cannot be shown: {type(broken).__name__}"


def reason_of(error: BaseException) -> str:
    """What a job fails with whose message cannot be made into a call."""
    if isinstance(error, CryptoError):
        return error.reason
    is_ours = isinstance(error, TaskrunnerError) and not isinstance(error, ArgumentError)
    return "unreadable" if is_ours else "arguments"


def cut(text: str, limit: int) -> str:
    """At most `limit` bytes, the middle left out: the ends of a traceback say most."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode("utf-8")
    if limit < _SHORTEST_CUT:
        return data[:limit].decode("utf-8", "ignore")
    half = (limit - 40) // 2
    left_out = len(data) - 2 * half
    ends = data[:half].decode("utf-8", "ignore"), data[-half:].decode("utf-8", "ignore")
    return f"{ends[0]}\n… {left_out} bytes left out …\n{ends[1]}"
