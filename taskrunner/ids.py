"""Ids of jobs, made by the client: 26 characters that sort by the time they were made.

    01J8ZQ4T3K  9XW2M5R7B0C4D6FH
    time, ms    80 random bits         in Crockford's base 32, as a ULID

Random parts are cut from batches of the system's randomness, 64 at a time; taking one is a single
atomic `pop`, so threads never share one, and a forked child starts with an empty pool.
"""

from __future__ import annotations

import os
from typing import Final

from taskrunner.clock import SYSTEM_CLOCK

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
_FROM_BYTE: Final = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))
_RANDOM_CHARACTERS: Final = 16
_BATCH: Final = 64

_pool: list[str] = []
_wall = SYSTEM_CLOCK.wall
_last_time = (-1, "")


def new_id() -> str:
    """A new id, unique everywhere."""
    global _last_time
    now = int(_wall() * 1000)
    # One tuple, replaced as a whole: another thread sees the old pair or the new one.
    moment, text = _last_time
    if moment != now:
        text = _time_text(now)
        _last_time = now, text
    try:
        return text + _pool.pop()
    except IndexError:
        return text + _refill()


def made_at(job_id: str) -> float | None:
    """When an id was made, in seconds since the epoch; None for one that was not made here."""
    if len(job_id) != 26:
        return None
    moment = 0
    for letter in job_id[:10]:
        digit = _ALPHABET.find(letter)
        if digit < 0:
            return None
        moment = moment << 5 | digit
    return moment / 1000


def _time_text(milliseconds: int) -> str:
    high, low = divmod(milliseconds, 1 << 20)
    first, second, third = high >> 20 & 1023, high >> 10 & 1023, high & 1023
    return _PAIRS[first] + _PAIRS[second] + _PAIRS[third] + _PAIRS[low >> 10] + _PAIRS[low & 1023]


def _refill() -> str:
    letters = os.urandom(_BATCH * _RANDOM_CHARACTERS).translate(_FROM_BYTE).decode("ascii")
    parts = [
        letters[at : at + _RANDOM_CHARACTERS] for at in range(0, len(letters), _RANDOM_CHARACTERS)
    ]
    last = parts.pop()
    _pool.extend(parts)
    return last


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.clear)
