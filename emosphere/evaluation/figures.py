"""All figures of one model on some clips as JSON-ready estimates: a value, its interval, or why there is none."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from emosphere.evaluation.agreement import extreme_fifths, why_undefined
from emosphere.evaluation.answered import AnsweredClips, Dimension, Float64
from emosphere.evaluation.bootstrap import draw_speakers, estimate
from emosphere.evaluation.calibration import Reliability
from emosphere.evaluation.class_figures import class_figures
from emosphere.evaluation.drawn_figures import EXTREMES, FIGURES, draw_figures, draw_reliability, inside_ball
from emosphere.tasks.classes import ClassesTask
from emosphere.tasks.rated import RatedTask

DIGITS: Final = 4
"""Decimals of a figure in JSON."""

NOT_ANSWERED = "the model does not answer it"


def meanings(answered: AnsweredClips) -> dict[str, str]:
    """What each figure is."""
    nouns = [(task.noun, task.plural) for task in answered.classified.values()]
    noun, plural = nouns[0] if len(nouns) == 1 else (ClassesTask.noun, ClassesTask.plural)
    is_centred = all((task.lowest, task.highest) == (-1, 1) for task in answered.rated.values())
    radii = " or ".join(f"{head}_radius_90" for head in answered.rated)
    return {
        "ccc": "concordance correlation: 1 is perfect, 0 is none",
        "pearson": "linear correlation",
        "mae": f"mean absolute error, on {'the centred scale' if is_centred else 'the scale of the dimension'}",
        "bias": "mean prediction minus mean target",
        "spread_ratio": "standard deviation of the predictions over that of the targets",
        "ccc_extremes": "concordance over the lowest and the highest fifth of the targets together",
        "bias_lowest": "bias in the lowest fifth of the targets",
        "bias_highest": "bias in the highest fifth of the targets",
        "mae_extremes": "mean absolute error over both extreme fifths",
        "uar": f"unweighted average recall of the {noun}",
        "macro_f1": f"mean F1 over the {plural}",
        "accuracy": f"share of clips in their own {noun}",
        "ece": "expected calibration error of a probability",
        "coverage": f"share of targets inside the ball of radius {radii}",
    }


def estimates(
    answered: AnsweredClips, draws: Float64, *, fifths_of: AnsweredClips | None = None
) -> dict[str, dict[str, Any]]:
    """JSON-ready: figure -> of what -> value, low, high; and a reason where the value is null.

    ``fifths_of``: the whole split, whose fifths are the extreme ones; None leaves those figures out.
    """
    num_speakers = len(answered.speakers[0])
    figures: dict[str, dict[str, Any]] = {
        figure: {} for figure in FIGURES if fifths_of is not None or figure not in EXTREMES
    }
    for head in answered.questions:
        for figure, parts in draw_figures(answered, head, draws, fifths_of=fifths_of).items():
            for of, values in parts.items():
                figures[figure][of] = _plain(estimate(values, num_speakers=num_speakers)._asdict())
                if not math.isfinite(values[0]):
                    figures[figure][of]["reason"] = _reason(answered, head, figure, of)
    return figures


def figures_of(answered: AnsweredClips, *, num_draws: int, seed: int) -> dict[str, Any]:
    """Estimates and everything that belongs to no interval, of a whole split."""
    names, _ = answered.speakers
    draws = draw_speakers(len(names), num_draws, seed=seed)
    return {
        "clips": len(answered.clips),
        "speakers": len(names),
        "dimensions": {
            name: _counts(dimension, dimension.predicted)
            for head in answered.rated
            for name, dimension in answered.dimensions(head).items()
            if dimension.predicted is not None
        },
        "figures": estimates(answered, draws, fifths_of=answered),
        "confusion": {way: counts for head in answered.classified for way, counts in _confusions(answered, head)},
        "reliability": {
            of: _bins(drawn)
            for head in answered.classified
            for of, drawn in draw_reliability(answered, head, draws[:1]).items()
        },
    } | {
        task.key(head, "coverage_by_speaker"): _coverage_by_speaker(answered, head, names)
        for head, task in answered.rated.items()
    }


def slice_figures(answered: AnsweredClips, *, num_draws: int, seed: int) -> dict[str, Any]:
    """Estimates of a part of the split; what is below two clips or two speakers is named as too small."""
    names, _ = answered.speakers
    sizes: dict[str, Any] = {"clips": len(answered.clips), "speakers": len(names)}
    if len(answered.clips) < 2 or len(names) < 2:
        return sizes | {"too_small": "wanted at least 2 clips of 2 speakers"}
    draws = draw_speakers(len(names), num_draws, seed=seed)
    return sizes | {"figures": estimates(answered, draws)}


def _reason(answered: AnsweredClips, head: str, figure: str, of: str) -> str:
    task = answered.questions[head]
    if isinstance(task, ClassesTask):
        offered = (task.promised(answered.published, head) if figure == "ece" else answered.named(head))[of]
        return offered if isinstance(offered, str) else task.none_known
    assert isinstance(task, RatedTask)
    if head not in answered.answers:
        return NOT_ANSWERED
    if figure == "coverage":
        if task.radius_90 is None:
            return f"the model claims no {of}"
        return f"no clip is rated in {'all three dimensions' if len(task.dims) == 3 else 'every dimension'}"
    dimension = answered.dimensions(head).get(of)
    if dimension is None or dimension.predicted is None:
        return "not every dimension has one"
    if figure in EXTREMES and len(dimension.target):
        return "the lowest and the highest fifth of the targets are not apart: too many targets are equal"
    return why_undefined(dimension.centred(dimension.predicted), dimension.centred(dimension.target))


def _bins(drawn: Reliability) -> dict[str, Any]:
    return {
        "clips": drawn.clips.tolist(),
        "promised": [_rounded(value) for value in drawn.promised],
        "came_true": [_rounded(value) for value in drawn.came_true],
    }


def _counts(dimension: Dimension, predicted: Float64) -> dict[str, Any]:
    target = dimension.target
    counts: dict[str, Any] = {
        "clips": len(target),
        "unrated": dimension.num_unrated,
        "speakers": len(np.unique(dimension.speaker)),
    }
    if not len(target):
        return counts
    fifths = extreme_fifths(target)
    return counts | {
        "predicted": {"mean": _rounded(predicted.mean()), "spread": _rounded(predicted.std())},
        "target": {"mean": _rounded(target.mean()), "spread": _rounded(target.std())},
        "lowest_fifth": {"clips": len(fifths.lowest), "up_to": _rounded(fifths.up_to)},
        "highest_fifth": {"clips": len(fifths.highest), "down_to": _rounded(fifths.down_to)},
    }


def _confusions(answered: AnsweredClips, head: str) -> Iterator[tuple[str, dict[str, Any]]]:
    task = answered.classified[head]
    true, is_known = task.labels(answered.clips)
    _, speaker = answered.speakers
    once = np.ones((1, int(speaker.max()) + 1))
    for way, predicted in answered.named(head).items():
        if isinstance(predicted, str):
            continue
        counts = class_figures(predicted, true, is_known, task.outputs, speaker, once).confusion
        occurring = int((counts.sum(axis=1) > 0).sum())
        yield (
            way,
            {
                "names": list(task.classes),
                "counts": counts.tolist(),
                "chance_uar": round(1 / occurring, DIGITS) if occurring else None,
            },
        )


def _coverage_by_speaker(answered: AnsweredClips, head: str, names: list[str]) -> dict[str, Any] | None:
    drawn = inside_ball(answered, head)
    if drawn is None:
        return None
    inside, speaker = drawn
    return {
        name: {"clips": int((speaker == index).sum()), "coverage": _rounded(inside[speaker == index].mean())}
        for index, name in enumerate(names)
        if (speaker == index).any()
    }


def _plain(values: dict[str, float]) -> dict[str, Any]:
    return {name: _rounded(value) for name, value in values.items()}


def _rounded(value: float) -> float | None:
    """JSON knows no NaN: null, and a reason beside it where it is a figure."""
    return round(float(value), DIGITS) if math.isfinite(value) else None
