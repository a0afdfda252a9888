"""Answers against targets, a dot per clip."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from emosphere.plots.svg import GREY, PALE, dot, line, svg, text

Float64 = npt.NDArray[np.float64]

MOST_POINTS: Final = 3000
"""More points than this would make the page heavy; an even sample of the rows stands for them."""


def scatter(target: Float64, predicted: Float64, *, title: str, lowest: float = -1.0, highest: float = 1.0) -> str:
    """Wanted against answered, ``(n,)`` on a scale from ``lowest`` to ``highest``; the diagonal is perfection."""
    rows = range(0, len(target), max(1, math.ceil(len(target) / MOST_POINTS)))
    left, top, size = 46, 26, 240

    def x(value: float) -> float:
        return left + (value - lowest) / (highest - lowest) * size

    def y(value: float) -> float:
        return top + (highest - value) / (highest - lowest) * size

    parts = [text(left + size / 2, 16, title, anchor="middle", bold=True)]
    for tick in np.linspace(lowest, highest, 5).tolist():
        parts += [
            line(x(tick), top, x(tick), top + size, PALE),
            line(left, y(tick), left + size, y(tick), PALE),
            text(x(tick), top + size + 16, f"{tick:g}", anchor="middle"),
            text(left - 6, y(tick) + 4, f"{tick:g}", anchor="end"),
        ]
    parts += [
        line(x(lowest), y(lowest), x(highest), y(highest), GREY, dashed=True),
        *(dot(x(target[row]), y(predicted[row]), 2.2, opacity=0.35) for row in rows),
        text(left + size / 2, top + size + 34, "target", anchor="middle"),
        f"<g transform='translate(12 {top + size / 2}) rotate(-90)'>{text(0, 0, 'predicted', anchor='middle')}</g>",
    ]
    return svg(left + size + 14, top + size + 42, parts, f"{title}: target against prediction")
