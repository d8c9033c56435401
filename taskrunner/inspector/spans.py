"""Durations as people say them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60))


def span(seconds: float) -> str:
    """In the two largest units: `0.4 s`, `12 s`, `3 min 5 s`, `2 d 4 h`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    left = round(seconds)
    found: list[str] = []
    for unit, size in _UNITS:
        if left >= size or found:
            found.append(f"{left // size} {unit}")
            left %= size
    return " ".join([*found, f"{left} s"][:2])
