"""Two models on the same clips: the difference of every figure, over the same draws of speakers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from emosphere.evaluation.answered import AnsweredClips, Float64
from emosphere.evaluation.bootstrap import draw_speakers, estimate, two_sided_p
from emosphere.evaluation.drawn_figures import FIGURES, draw_figures
from emosphere.evaluation.figures import DIGITS
from emosphere.tasks import Task
from emosphere.tasks.classes import ClassesTask
from emosphere.tasks.rated import RatedTask

LOWER_IS_BETTER = frozenset({"mae", "mae_extremes", "ece"})
HIGHER_IS_BETTER = frozenset({"ccc", "pearson", "ccc_extremes", "uar", "macro_f1", "accuracy"})
"""Figures of which neither is true (bias, spread_ratio, coverage) are best near a value: they name no better one."""


def compare(first: AnsweredClips, second: AnsweredClips, *, num_draws: int, seed: int) -> dict[str, dict[str, Any]]:
    """Figure -> of what -> both values, first minus second with its interval, two-sided p, and which is better.

    Paired: a draw of speakers counts for both models alike, so what makes a clip hard for both cancels out. Figures
    that one of the two lacks are left out; so are those of a question that the models answer by other classes.
    Raises ValueError for other clips.
    """
    if [clip.place for clip in first.clips] != [clip.place for clip in second.clips]:
        raise ValueError("the two models answered other clips; a paired test needs the same ones in the same order.")
    num_speakers = len(first.speakers[0])
    draws = draw_speakers(num_speakers, num_draws, seed=seed)
    compared: dict[str, dict[str, Any]] = {figure: {} for figure in FIGURES}
    for head, task in first.questions.items():
        same = _same_question(head, task, second.questions)
        if same is None:
            continue
        drawn = draw_figures(first, head, draws, fifths_of=first)
        others = draw_figures(second, same, draws, fifths_of=second)
        for figure, parts in drawn.items():
            for of, values in parts.items():
                other = others[figure].get(of)
                if other is not None and math.isfinite(values[0] - other[0]):
                    compared[figure][of] = _difference(figure, values, other, num_speakers)
    return {figure: parts for figure, parts in compared.items() if parts}


def _same_question(head: str, task: Task, asked: Mapping[str, Task]) -> str | None:
    """Head among those of ``asked`` that answers what ``head`` does, by the same dimensions or classes."""
    names = _names(task)
    same = [other for other, its in asked.items() if its.kind == task.kind and names and _names(its) == names]
    return head if head in same else next(iter(same), None)


def _names(task: Task) -> tuple[str, ...]:
    if isinstance(task, RatedTask):
        return task.dims
    return task.classes if isinstance(task, ClassesTask) else ()


def _difference(figure: str, values: Float64, other: Float64, num_speakers: int) -> dict[str, Any]:
    differences = values - other
    difference = estimate(differences, num_speakers=num_speakers)
    p = two_sided_p(differences[1:]) if num_speakers > 1 else math.nan
    return {
        "first": _rounded(values[0]),
        "second": _rounded(other[0]),
        "difference": _rounded(difference.value),
        "low": _rounded(difference.low),
        "high": _rounded(difference.high),
        "p": _rounded(p),
        "better": _better(figure, difference.low, difference.high),
    }


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
