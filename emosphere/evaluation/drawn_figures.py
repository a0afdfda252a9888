"""Figures of one of a model's questions on some clips, as drawn over speakers: for intervals and for paired tests."""

import numpy as np
import numpy.typing as npt

from emosphere.evaluation.agreement import Agreement, agreement, extreme_fifths
from emosphere.evaluation.answered import AnsweredClips, Dimension, Float64, Ints
from emosphere.evaluation.calibration import Reliability, coverage, reliability
from emosphere.evaluation.class_figures import class_figures

Drawn = dict[str, dict[str, Float64]]
"""Figure -> of what -> one value per draw of speakers; row 0 is the data themselves."""

AGREEMENT = ("ccc", "pearson", "mae", "bias", "spread_ratio")
EXTREMES = ("ccc_extremes", "mae_extremes", "bias_lowest", "bias_highest")
OF_CLASSES = ("uar", "macro_f1", "accuracy")
FIGURES = (*AGREEMENT, *EXTREMES, *OF_CLASSES, "ece", "coverage")
"""All figures, in their order."""
WITH_MEAN = ("ccc", "pearson", "mae", "ccc_extremes")
"""Figures of which there is a mean over the dimensions of a question with several."""


def draw_figures(
    answered: AnsweredClips, head: str, draws: Float64, *, fifths_of: AnsweredClips | None = None
) -> Drawn:
    """Every figure of the question ``head`` for every draw; NaN where it is not defined.

    ``fifths_of``: the whole split, whose fifths are the extreme ones; None leaves those figures out.
    """
    if head in answered.rated:
        return _of_ratings(answered, head, draws, fifths_of)
    return _of_classes(answered, head, draws) if head in answered.classified else {}


def draw_reliability(answered: AnsweredClips, head: str, draws: Float64) -> dict[str, Reliability]:
    """Of each probability that a question of classes promises and the model gives."""
    task = answered.classified[head]
    true, is_known = task.labels(answered.clips)
    _, speaker = answered.speakers
    return {
        of: reliability(
            answered.answers[head][np.arange(len(promised)), promised][is_known],
            (promised == true)[is_known],
            speaker[is_known],
            draws,
        )
        for of, promised in task.promised(answered.published, head).items()
        if not isinstance(promised, str)
    }


def inside_ball(answered: AnsweredClips, head: str) -> tuple[npt.NDArray[np.bool_], Ints] | None:
    """(rated,): whether the target lies within ``radius_90`` of the answer, of the clips rated in all dimensions, and
    who speaks there; None for a model that claims no radius.
    """
    radius = answered.rated[head].radius_90
    if radius is None or head not in answered.answers:
        return None
    target, is_known = answered.ratings(head)
    rows = is_known.all(axis=1)
    _, speaker = answered.speakers
    distance = np.linalg.norm(answered.answers[head][rows].astype(np.float64) - target[rows], axis=1)
    return np.asarray(distance <= radius), speaker[rows]


def _of_ratings(answered: AnsweredClips, head: str, draws: Float64, whole: AnsweredClips | None) -> Drawn:
    task, nothing = answered.rated[head], np.full(len(draws), np.nan)
    dimensions = answered.dimensions(head)
    of_dim = {name: _agreement(dimension, slice(None), draws) for name, dimension in dimensions.items()}
    drawn: Drawn = {
        figure: {name: nothing if of is None else getattr(of, figure) for name, of in of_dim.items()}
        for figure in AGREEMENT
    }
    if whole is not None:
        drawn |= _extremes(dimensions, whole.dimensions(head), draws)
    if len(dimensions) > 1:
        for figure in drawn.keys() & set(WITH_MEAN):
            drawn[figure][task.key(head, "mean")] = np.mean(list(drawn[figure].values()), axis=0)
    inside = inside_ball(answered, head)
    drawn["coverage"] = {f"{head}_radius_90": nothing if inside is None else coverage(*inside, draws)}
    return drawn


def _of_classes(answered: AnsweredClips, head: str, draws: Float64) -> Drawn:
    task, nothing = answered.classified[head], np.full(len(draws), np.nan)
    true, is_known = task.labels(answered.clips)
    _, speaker = answered.speakers
    drawn: Drawn = {figure: {} for figure in OF_CLASSES}
    for way, predicted in answered.named(head).items():
        scores = None
        if not isinstance(predicted, str):
            scores = class_figures(predicted, true, is_known, task.outputs, speaker, draws)
        for figure in OF_CLASSES:
            drawn[figure][way] = nothing if scores is None else getattr(scores, figure)
    drawn["ece"] = dict.fromkeys(task.promises(head), nothing)
    drawn["ece"] |= {of: bins.ece for of, bins in draw_reliability(answered, head, draws).items()}
    return drawn


def _agreement(dimension: Dimension, rows: slice | npt.NDArray[np.bool_], draws: Float64) -> Agreement | None:
    """Of some of the rated clips, errors on the dimension's own scale; None where the model does not answer it."""
    if dimension.predicted is None:
        return None
    predicted, target = dimension.centred(dimension.predicted[rows]), dimension.centred(dimension.target[rows])
    figures = agreement(predicted, target, dimension.speaker[rows], draws)
    return figures._replace(mae=figures.mae * dimension.half, bias=figures.bias * dimension.half)


def _extremes(dimensions: dict[str, Dimension], whole: dict[str, Dimension], draws: Float64) -> Drawn:
    """Fifths are those of the split, once and for all draws: a draw asks about speakers, not about the borders."""
    drawn: Drawn = {figure: {name: np.full(len(draws), np.nan) for name in dimensions} for figure in EXTREMES}
    for name, dimension in dimensions.items():
        if not len(whole[name].target):
            continue
        fifths = extreme_fifths(whole[name].target)
        if fifths.overlap:
            continue
        lowest, highest = dimension.target <= fifths.up_to, dimension.target >= fifths.down_to
        together = _agreement(dimension, lowest | highest, draws)
        at_lowest, at_highest = _agreement(dimension, lowest, draws), _agreement(dimension, highest, draws)
        if together is None or at_lowest is None or at_highest is None:
            continue
        drawn["ccc_extremes"][name], drawn["mae_extremes"][name] = together.ccc, together.mae
        drawn["bias_lowest"][name], drawn["bias_highest"][name] = at_lowest.bias, at_highest.bias
    return drawn
