"""Pictures of figures, as SVG: bars for things, lines for numbers that grow.

A picture is one string, with its own white ground, so that it looks the same on every page. No
library: what is drawn is some rectangles, lines and words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

WIDTH: Final = 720
_ROW: Final = 30
_HEAD: Final = 48
_FOOT: Final = 16
_LABELS: Final = 230
_VALUES: Final = 90
_PLOT_HEIGHT: Final = 260
_INK: Final = "#1f2933"
_FAINT: Final = "#cbd2d9"
COLOURS: Final = ("#2f6f9f", "#c8553d", "#588157", "#8a5a9e", "#b08900", "#4a5568")


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing and its value; `low` and `high` draw how far it was spread."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One value for each label of the picture; None where there is none."""

    name: str
    values: Sequence[float | None]


def bars(title: str, unit: str, found: Sequence[Bar]) -> str:
    """A horizontal bar for each, all from zero."""
    height = _HEAD + _ROW * len(found) + _FOOT
    most = max((bar.high or bar.value for bar in found), default=0.0) or 1.0
    scale = (WIDTH - _LABELS - _VALUES) / most
    parts = [_words(_LABELS, 42, unit, size=11, anchor="start")]
    for at, bar in enumerate(found):
        parts += _bar(bar, _HEAD + _ROW * at, scale, COLOURS[0])
    return _picture(title, height, parts)


def _bar(bar: Bar, top: float, scale: float, colour: str) -> list[str]:
    middle = top + _ROW / 2
    end = _LABELS + bar.value * scale
    shown = max(end, _LABELS + (bar.high or 0.0) * scale)
    parts = [
        _words(_LABELS - 8, middle + 4, bar.label, anchor="end"),
        _block(_LABELS, top + 5, bar.value * scale, _ROW - 10, colour),
        _words(shown + 6, middle + 4, figure(bar.value), anchor="start"),
    ]
    if bar.low is not None and bar.high is not None and bar.low < bar.high:
        left, right = _LABELS + bar.low * scale, _LABELS + bar.high * scale
        parts.append(_stroke([(left, middle), (right, middle)], _INK, 1.5))
    return parts


def lines(title: str, unit: str, labels: Sequence[str], found: Sequence[Line]) -> str:
    """A line for each, over evenly spaced labels, all from zero."""
    height = _HEAD + _PLOT_HEIGHT + 44 + 20 * len(found)
    values = [value for line in found for value in line.values if value is not None]
    most = max(values, default=0.0) or 1.0
    bottom = _HEAD + _PLOT_HEIGHT
    step = (WIDTH - 140) / max(1, len(labels) - 1)
    parts = [_words(16, 42, unit, size=11, anchor="start")]
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - part * (_PLOT_HEIGHT - 20)
        parts.append(_stroke([(80, y), (WIDTH - 40, y)], _FAINT, 1))
        parts.append(_words(74, y + 4, figure(part * most), size=11, anchor="end"))
    for at, label in enumerate(labels):
        parts.append(_words(90 + at * step, bottom + 20, label, size=11, anchor="middle"))
    for at, line in enumerate(found):
        colour = COLOURS[at % len(COLOURS)]
        places = [
            (90 + n * step, bottom - value / most * (_PLOT_HEIGHT - 20))
            for n, value in enumerate(line.values)
            if value is not None
        ]
        parts += _curve(places, colour)
        if line.name:
            y = bottom + 44 + 20 * at
            parts.append(_block(90, y - 9, 12, 10, colour))
            parts.append(_words(108, y, line.name, anchor="start"))
    return _picture(title, height, parts)


def _curve(places: Sequence[tuple[float, float]], colour: str) -> list[str]:
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    return [_stroke(places, colour, 2), *dots]


def _block(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _stroke(places: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _words(x: float, y: float, text: str, *, size: int = 13, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{_INK}">{escape(text)}</text>'
    )


def _picture(title: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" font-family="sans-serif" role="img" '
        f"aria-label={quoteattr(title)}>"
    )
    ground = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    name = _words(16, 24, title, size=15, anchor="start")
    return "\n".join([head, ground, name, *parts, "</svg>", ""])


def figure(value: float) -> str:
    """A value as it stands beside its bar."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
