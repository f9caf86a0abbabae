"""Small SVG plots, written by hand: bars with whiskers, and lines over logarithmic axes.

They stand beside tables that say the same, so they carry no more than fits: no grid, no shadows, colours that
can be told apart in grey, and text that is legible on a light and on a dark page.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.results import Row

_WIDTH = 720
_LABELS = 250
_BAR = 14
_TEXT = "#777"
_OURS = "#1f77b4"
_OTHERS = ("#e08214", "#8073ac", "#7a9a01", "#c51b7d")
_HEIGHT = 300


def number(value: float) -> str:
    """Three digits that mean something, and no exponents."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 0.01 else f"{value:.4f}"


def bars(rows: Sequence[Row], *, ours: str) -> str:
    """One group of bars for each label, one bar for each way, the quartiles as whiskers."""
    shown = [row for row in rows if row.value is not None]
    colours = _colours([row.way for row in shown], ours)
    longest = max(max(row.value or 0, row.spread[1] if row.spread else 0) for row in shown) or 1
    room = _WIDTH - _LABELS - 90
    drawn, y, label = [], 10, ""
    for row in shown:
        if row.label != label:
            label = row.label
            y += 8
            drawn.append(_text(0, y + _BAR - 3, label))
        drawn.append(_bar(row, y, room / longest, colours[row.way]))
        y += _BAR + 3
    y += 10
    drawn.append(_legend(colours, y))
    return _svg(y + 20, drawn)


def _bar(row: Row, y: float, scale: float, colour: str) -> str:
    value = row.value or 0
    length = max(value * scale, 1)
    low, high = row.spread or (value, value)
    middle = y + _BAR / 2
    whisker = _line(
        [(_LABELS + max(low, 0) * scale, middle), (_LABELS + max(high, 0) * scale, middle)], _TEXT, 1.5
    )
    figure = _text(_LABELS + max(length, high * scale) + 6, y + _BAR - 3, f"{number(value)} {row.unit}")
    return (
        f'<rect x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>{whisker}{figure}'
    )


def lines(series: Mapping[str, Sequence[tuple[float, float]]], axes: tuple[str, str], *, ours: str) -> str:
    """One line for each name, both axes logarithmic, each point with its figure."""
    points = [point for line in series.values() for point in line if min(point) > 0]
    colours = _colours(list(series), ours)
    across = _scale([x for x, _ in points], 50, _WIDTH - 110)
    up = _scale([y for _, y in points], _HEIGHT - 40, 30)
    drawn = [_text(_WIDTH - 60, _HEIGHT - 15, axes[0]), _text(0, 12, axes[1])]
    drawn += [_text(across(x) - 10, _HEIGHT - 15, f"{x:g}") for x in sorted({x for x, _ in points})]
    for name, line in series.items():
        placed = [(across(x), up(y)) for x, y in line if min(x, y) > 0]
        drawn.append(_line(placed, colours[name], 2.5))
        for (x, y), (_, value) in zip(placed, line, strict=False):
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colours[name]}"/>')
            drawn.append(_text(x - 20, y - 10, number(value)))
    drawn.append(_legend(colours, _HEIGHT + 5))
    return _svg(_HEIGHT + 25, drawn)


def _scale(values: list[float], start: float, end: float) -> _Scale:
    return _Scale(math.log(min(values)), math.log(max(values)), start, end)


class _Scale:
    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._per = (end - start) / ((high - low) or 1)

    def __call__(self, value: float) -> float:
        return self._start + (math.log(value) - self._low) * self._per


def _colours(ways: list[str], ours: str) -> dict[str, str]:
    others = [way for way in dict.fromkeys(ways) if way != ours]
    colours = {way: _OTHERS[position % len(_OTHERS)] for position, way in enumerate(others)}
    return {ours: _OURS, **colours} if ours in ways else colours


def _legend(colours: Mapping[str, str], y: float) -> str:
    drawn, x = [], 0.0
    for way, colour in colours.items():
        drawn.append(f'<rect x="{x:.0f}" y="{y}" width="10" height="10" fill="{colour}"/>')
        drawn.append(_text(x + 14, y + 9, way))
        x += 32 + 7 * len(way)
    return "".join(drawn)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _line(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _svg(height: float, drawn: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        f'font-family="sans-serif" font-size="12" fill="{_TEXT}">'
    )
    return "\n".join([head, *drawn, "</svg>", ""])
