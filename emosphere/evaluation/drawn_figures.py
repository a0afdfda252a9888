"""Every figure of one model on some clips, as drawn over speakers: arrays, for intervals and for paired tests."""

import numpy as np

from emosphere.evaluation.agreement import agreement, extreme_fifths
from emosphere.evaluation.answered import AnsweredClips, Float64, Ints
from emosphere.evaluation.calibration import Reliability, coverage, reliability
from emosphere.evaluation.region_figures import region_figures
from emosphere.vad import VAD_DIMS

Drawn = dict[str, dict[str, Float64]]
"""Figure -> of what -> one value per draw of speakers; row 0 is the data themselves."""

REGION_FIGURES = ("uar", "macro_f1", "accuracy")


def draw_figures(answered: AnsweredClips, draws: Float64, *, fifths_of: AnsweredClips | None = None) -> Drawn:
    """Every figure for every draw; NaN where it is not defined.

    ``fifths_of``: the whole split, whose fifths are the extreme ones; None leaves those figures out.
    """
    drawn = _agreement(answered, draws)
    if fifths_of is not None:
        drawn |= _extremes(answered, draws, fifths_of)
    _, speaker = answered.speakers
    nothing = np.full(len(draws), np.nan)
    drawn |= {figure: {} for figure in REGION_FIGURES}
    for way, predicted in named_regions(answered).items():
        for figure in REGION_FIGURES:
            drawn[figure][way] = nothing
        if predicted is not None:
            scores = region_figures(predicted, answered.true_region, answered.num_regions, speaker, draws)
            for figure in REGION_FIGURES:
                drawn[figure][way] = getattr(scores, figure)
    drawn["ece"] = {"region_prob": nothing, "head": nothing}
    drawn["ece"] |= {of: drawn_bins.ece for of, drawn_bins in draw_reliability(answered, draws).items()}
    inside = inside_ball(answered)
    rated = ~np.isnan(answered.target).any(axis=1)
    drawn["coverage"] = {"vad_radius_90": nothing if inside is None else coverage(inside[rated], speaker[rated], draws)}
    return drawn


def named_regions(answered: AnsweredClips) -> dict[str, Ints | None]:
    """The region of each answer in the three ways; None for a way that the checkpoint does not offer."""
    probs, at_zero = answered.region_probs, answered.probs_at_weight_zero
    return {
        "head": None if probs is None else probs.argmax(axis=1),
        "head_at_weight_zero": None if at_zero is None else at_zero.argmax(axis=1),
        "of_vad": answered.region_of_vad,
    }


def draw_reliability(answered: AnsweredClips, draws: Float64) -> dict[str, Reliability]:
    """Of the probability that is published, and of the region head's highest; empty without a region head.

    ``region_prob`` is the head's probability of the region of the VAD; the head itself may favour another region.
    """
    if answered.region_probs is None:
        return {}
    located = answered.true_region >= 0
    _, speaker = answered.speakers
    named = {"region_prob": answered.region_of_vad, "head": answered.region_probs.argmax(axis=1)}
    return {
        of: reliability(
            answered.region_probs[np.arange(len(region)), region][located],
            (region == answered.true_region)[located],
            speaker[located],
            draws,
        )
        for of, region in named.items()
    }


def inside_ball(answered: AnsweredClips) -> np.typing.NDArray[np.bool_] | None:
    """(n,): whether the target lies within vad_radius_90 of the answer; None for a model that claims none."""
    if answered.vad_radius_90 is None:
        return None
    distance = np.linalg.norm(answered.vad - answered.target, axis=1)
    return np.asarray(distance <= answered.vad_radius_90)


def _agreement(answered: AnsweredClips, draws: Float64) -> Drawn:
    _, speaker = answered.speakers
    target = answered.target
    of_dim = {
        dim: agreement(answered.vad[:, column], target[:, column], speaker, draws)
        for column, dim in enumerate(VAD_DIMS)
    }
    figures = ("ccc", "pearson", "mae", "bias", "spread_ratio")
    drawn: Drawn = {figure: {dim: getattr(of_dim[dim], figure) for dim in VAD_DIMS} for figure in figures}
    for figure in ("ccc", "pearson", "mae"):
        drawn[figure]["mean"] = np.mean([drawn[figure][dim] for dim in VAD_DIMS], axis=0)
    return drawn


def _extremes(answered: AnsweredClips, draws: Float64, whole: AnsweredClips) -> Drawn:
    """Fifths are those of the split, once and for all draws: a draw asks about speakers, not about the borders."""
    names = ("ccc_extremes", "mae_extremes", "bias_lowest", "bias_highest")
    drawn: Drawn = {name: {dim: np.full(len(draws), np.nan) for dim in VAD_DIMS} for name in names}
    _, speaker = answered.speakers
    for column, dim in enumerate(VAD_DIMS):
        predicted, target = answered.vad[:, column], answered.target[:, column]
        if np.isnan(whole.target[:, column]).all():
            continue
        fifths = extreme_fifths(whole.target[:, column])
        if fifths.overlap:
            continue
        lowest, highest = target <= fifths.up_to, target >= fifths.down_to
        both = lowest | highest
        together = agreement(predicted[both], target[both], speaker[both], draws)
        drawn["ccc_extremes"][dim], drawn["mae_extremes"][dim] = together.ccc, together.mae
        for name, part in (("bias_lowest", lowest), ("bias_highest", highest)):
            drawn[name][dim] = agreement(predicted[part], target[part], speaker[part], draws).bias
    drawn["ccc_extremes"]["mean"] = np.mean([drawn["ccc_extremes"][dim] for dim in VAD_DIMS], axis=0)
    return drawn
