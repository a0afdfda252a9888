"""Figures with their intervals, a line each, in panels side by side."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from emosphere.plots.svg import BLUE, GREY, PALE, dot, line, svg, text


class Bar(NamedTuple):
    """One line of an interval picture."""

    label: str
    """Empty values make it a heading."""
    values: Sequence[tuple[float, float, float] | None]
    """Value, low, high per panel; None where it is not defined."""


def intervals(panels: Sequence[str], bars: Sequence[Bar], *, title: str) -> str:
    """A line per bar with its value and interval in each panel; all panels share one axis, which holds 0."""
    numbers = [0.0]
    for bar in bars:
        for values in bar.values:
            numbers += [] if values is None else [number for number in values if math.isfinite(number)]
    low, high = _axis(min(numbers), max(numbers))
    left, top, width, gap, step = 250, 44, 190, 44, 20
    height = step * len(bars)
    parts = []
    for place, panel in enumerate(panels):
        origin = left + place * (width + gap)
        parts.append(text(origin + width / 2, 16, panel, anchor="middle", bold=True))
        for tick in _ticks(low, high):
            x = origin + (tick - low) / (high - low) * width
            parts += [
                line(x, top - 8, x, top + height, GREY if tick == 0 else PALE),
                text(x, top - 12, f"{tick:g}", anchor="middle", size=10),
            ]
    for row, bar in enumerate(bars):
        y = top + (row + 0.5) * step
        parts.append(text(left - 10, y + 4, bar.label, anchor="end", bold=not bar.values))
        for place, values in enumerate(bar.values):
            origin = left + place * (width + gap)

            def x_of(value: float, origin: float = origin) -> float:
                return origin + (value - low) / (high - low) * width

            if values is None:
                parts.append(text(origin + width + 4, y + 4, "none", colour=GREY, size=10))
                continue
            value, lowest, highest = values
            if math.isfinite(lowest) and math.isfinite(highest):
                parts.append(line(x_of(lowest), y, x_of(highest), y, BLUE, width=2))
            parts += [
                dot(x_of(value), y, 3.5),
                text(origin + width + 4, y + 4, f"{round(value, 2) + 0:.2f}", size=10),
            ]
    return svg(left + len(panels) * (width + gap), top + height + 8, parts, title)


def _axis(low: float, high: float) -> tuple[float, float]:
    high = max(high, low + 0.01)
    step = _step(high - low)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _ticks(low: float, high: float) -> list[float]:
    step = _step(high - low)
    return [round(index * step, 6) for index in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)]


def _step(span: float) -> float:
    """A round step that divides the span into about five."""
    power: float = 10 ** math.floor(math.log10(span / 5))
    return next(round(power * factor, 9) for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5.5)
