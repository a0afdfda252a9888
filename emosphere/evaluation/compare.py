"""Two models on the same clips: the difference of every figure, over the same draws of speakers."""

import math
from typing import Any

import numpy as np

from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.bootstrap import draw_speakers, estimate, two_sided_p
from emosphere.evaluation.drawn_figures import REGION_FIGURES, draw_figures
from emosphere.evaluation.figures import DIGITS

LOWER_IS_BETTER = frozenset({"mae", "mae_extremes", "ece"})
HIGHER_IS_BETTER = frozenset({"ccc", "pearson", "ccc_extremes", "uar", "macro_f1", "accuracy"})
"""Figures of which neither is true (bias, spread_ratio, coverage) are best near a value: they name no better one."""


def compare(first: AnsweredClips, second: AnsweredClips, *, num_draws: int, seed: int) -> dict[str, dict[str, Any]]:
    """Figure -> of what -> both values, first minus second with its interval, two-sided p, and which is better.

    Paired: a draw of speakers counts for both models alike, so what makes a clip hard for both cancels out. Figures
    that one of the two lacks are left out; so are those of regions if the models tell other numbers of regions apart.
    Raises ValueError for other clips.
    """
    if [clip.place for clip in first.clips] != [clip.place for clip in second.clips]:
        raise ValueError("the two models answered other clips; a paired test needs the same ones in the same order.")
    num_speakers = len(first.speakers[0])
    draws = draw_speakers(num_speakers, num_draws, seed=seed)
    drawn, other = (draw_figures(answered, draws, fifths_of=answered) for answered in (first, second))
    compared: dict[str, dict[str, Any]] = {}
    for figure, parts in drawn.items():
        if figure in (*REGION_FIGURES, "ece") and first.num_regions != second.num_regions:
            continue
        for of, values in parts.items():
            differences = values - other[figure][of]
            if not math.isfinite(differences[0]):
                continue
            difference = estimate(differences, num_speakers=num_speakers)
            p = two_sided_p(differences[1:]) if num_speakers > 1 else math.nan
            compared.setdefault(figure, {})[of] = {
                "first": _rounded(values[0]),
                "second": _rounded(other[figure][of][0]),
                "difference": _rounded(difference.value),
                "low": _rounded(difference.low),
                "high": _rounded(difference.high),
                "p": _rounded(p),
                "better": _better(figure, difference.low, difference.high),
            }
    return compared


def _better(figure: str, low: float, high: float) -> str | None:
    """Which model is better; None while the interval holds 0."""
    if figure in LOWER_IS_BETTER:
        low, high = -high, -low
    elif figure not in HIGHER_IS_BETTER:
        return None
    if low > 0:
        return "first"
    return "second" if high < 0 else None


def _rounded(value: float) -> float | None:
    return round(float(value), DIGITS) if np.isfinite(value) else None
