"""Answers against targets, a dot per clip."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from emosphere.plots.svg import GREY, PALE, dot, line, svg, text

Float64 = npt.NDArray[np.float64]

MOST_POINTS: Final = 3000
"""More points than this would make the page heavy; an even sample of the rows stands for them."""


def scatter(target: Float64, predicted: Float64, *, title: str) -> str:
    """Wanted against answered on the centred scale, rows with a NaN target left out; the diagonal is perfection."""
    rated = np.flatnonzero(~np.isnan(target))
    rows = rated[:: max(1, math.ceil(len(rated) / MOST_POINTS))]
    left, top, size = 46, 26, 240

    def x(value: float) -> float:
        return left + (value + 1) / 2 * size

    def y(value: float) -> float:
        return top + (1 - value) / 2 * size

    parts = [text(left + size / 2, 16, title, anchor="middle", bold=True)]
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0):
        parts += [
            line(x(tick), top, x(tick), top + size, PALE),
            line(left, y(tick), left + size, y(tick), PALE),
            text(x(tick), top + size + 16, f"{tick:g}", anchor="middle"),
            text(left - 6, y(tick) + 4, f"{tick:g}", anchor="end"),
        ]
    parts += [
        line(x(-1), y(-1), x(1), y(1), GREY, dashed=True),
        *(dot(x(target[row]), y(predicted[row]), 2.2, opacity=0.35) for row in rows),
        text(left + size / 2, top + size + 34, "target", anchor="middle"),
        f"<g transform='translate(12 {top + size / 2}) rotate(-90)'>{text(0, 0, 'predicted', anchor='middle')}</g>",
    ]
    return svg(left + size + 14, top + size + 42, parts, f"{title}: target against prediction")
