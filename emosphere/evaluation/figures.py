"""All figures of one model on some clips as JSON-ready estimates: a value, its interval, or why there is none."""

import math
from typing import Any, Final

import numpy as np

from emosphere.evaluation.agreement import extreme_fifths, why_undefined
from emosphere.evaluation.answered import AnsweredClips, Ints
from emosphere.evaluation.bootstrap import draw_speakers, estimate
from emosphere.evaluation.calibration import Reliability
from emosphere.evaluation.drawn_figures import Drawn, draw_figures, draw_reliability, inside_ball, named_regions
from emosphere.evaluation.region_figures import region_figures
from emosphere.geometry import REGION_NAMES
from emosphere.vad import VAD_DIMS

DIGITS: Final = 4
"""Decimals of a figure in JSON."""

MEANINGS: Final[dict[str, str]] = {
    "ccc": "concordance correlation: 1 is perfect, 0 is none",
    "pearson": "linear correlation",
    "mae": "mean absolute error, on the centred scale",
    "bias": "mean prediction minus mean target",
    "spread_ratio": "standard deviation of the predictions over that of the targets",
    "ccc_extremes": "concordance over the lowest and the highest fifth of the targets together",
    "bias_lowest": "bias in the lowest fifth of the targets",
    "bias_highest": "bias in the highest fifth of the targets",
    "mae_extremes": "mean absolute error over both extreme fifths",
    "uar": "unweighted average recall of the region",
    "macro_f1": "mean F1 over the regions",
    "accuracy": "share of clips in their own region",
    "ece": "expected calibration error of a probability",
    "coverage": "share of targets inside the ball of radius vad_radius_90",
}
"""What each figure is."""

WAYS: Final[dict[str, str]] = {
    "head": "the region head",
    "head_at_weight_zero": "the region head when its loss weight reached 0",
    "of_vad": "the region of the regressed VAD",
}
"""The three ways of naming a region (design/method.md, section 7, point 13)."""

NO_HEAD = "the model has no region head"
NOT_SAVED = "the training did not save that network (a checkpoint in the folder at_weight_zero inside the model's)"
NO_REGION = "no clip has a region: neutral by its word alone has no direction, and all three dimensions must be rated"
NO_RADIUS = "the model claims no vad_radius_90"


def estimates(answered: AnsweredClips, drawn: Drawn) -> dict[str, dict[str, Any]]:
    """JSON-ready: figure -> of what -> value, low, high; and a reason where the value is null."""
    num_speakers = len(answered.speakers[0])
    figures: dict[str, dict[str, Any]] = {}
    for figure, parts in drawn.items():
        figures[figure] = {}
        for of, values in parts.items():
            figures[figure][of] = _plain(estimate(values, num_speakers=num_speakers)._asdict())
            if not math.isfinite(values[0]):
                figures[figure][of]["reason"] = _reason(answered, figure, of)
    return figures


def figures_of(answered: AnsweredClips, *, num_draws: int, seed: int) -> dict[str, Any]:
    """Estimates and everything that belongs to no interval, of a whole split."""
    names, speaker = answered.speakers
    draws = draw_speakers(len(names), num_draws, seed=seed)
    return {
        "clips": len(answered.clips),
        "speakers": len(names),
        "dimensions": _dimensions(answered),
        "figures": estimates(answered, draw_figures(answered, draws, fifths_of=answered)),
        "confusion": _confusions(answered),
        "reliability": {of: _bins(drawn) for of, drawn in draw_reliability(answered, draws[:1]).items()},
        "coverage_by_speaker": _coverage_by_speaker(answered, names, speaker),
    }


def slice_figures(answered: AnsweredClips, *, num_draws: int, seed: int) -> dict[str, Any]:
    """Estimates of a part of the split; what is below two clips or two speakers is named as too small."""
    names, _ = answered.speakers
    sizes: dict[str, Any] = {"clips": len(answered.clips), "speakers": len(names)}
    if len(answered.clips) < 2 or len(names) < 2:
        return sizes | {"too_small": "wanted at least 2 clips of 2 speakers"}
    draws = draw_speakers(len(names), num_draws, seed=seed)
    return sizes | {"figures": estimates(answered, draw_figures(answered, draws))}


def _reason(answered: AnsweredClips, figure: str, of: str) -> str:
    if figure == "coverage":
        return NO_RADIUS if answered.vad_radius_90 is None else "no clip is rated in all three dimensions"
    if figure == "ece":
        return NO_HEAD if answered.region_probs is None else NO_REGION
    if of in WAYS:
        missing = named_regions(answered)[of] is None
        return {"head": NO_HEAD, "head_at_weight_zero": NOT_SAVED}[of] if missing else NO_REGION
    if of == "mean":
        return "not every dimension has one"
    column = VAD_DIMS.index(of)
    target = answered.target[:, column]
    if not np.isnan(target).all() and ("extremes" in figure or figure in ("bias_lowest", "bias_highest")):
        return "the lowest and the highest fifth of the targets are not apart: too many targets are equal"
    return why_undefined(answered.vad[:, column], target)


def _bins(drawn: Reliability) -> dict[str, Any]:
    return {
        "clips": drawn.clips.tolist(),
        "promised": [_rounded(value) for value in drawn.promised],
        "came_true": [_rounded(value) for value in drawn.came_true],
    }


def _dimensions(answered: AnsweredClips) -> dict[str, Any]:
    return {dim: _dimension(answered, column) for column, dim in enumerate(VAD_DIMS)}


def _dimension(answered: AnsweredClips, column: int) -> dict[str, Any]:
    predicted, target = answered.vad[:, column], answered.target[:, column]
    rated = ~np.isnan(target)
    counts: dict[str, Any] = {
        "clips": int(rated.sum()),
        "unrated": int((~rated).sum()),
        "speakers": len({clip.speaker for clip, is_rated in zip(answered.clips, rated, strict=True) if is_rated}),
    }
    if not rated.any():
        return counts
    fifths = extreme_fifths(target)
    return counts | {
        "predicted": {"mean": _rounded(predicted[rated].mean()), "spread": _rounded(predicted[rated].std())},
        "target": {"mean": _rounded(target[rated].mean()), "spread": _rounded(target[rated].std())},
        "lowest_fifth": {"clips": len(fifths.lowest), "up_to": _rounded(fifths.up_to)},
        "highest_fifth": {"clips": len(fifths.highest), "down_to": _rounded(fifths.down_to)},
    }


def _confusions(answered: AnsweredClips) -> dict[str, Any]:
    _, speaker = answered.speakers
    once = np.ones((1, int(speaker.max()) + 1))
    confusions = {}
    for way, predicted in named_regions(answered).items():
        if predicted is None:
            continue
        counts = region_figures(predicted, answered.true_region, answered.num_regions, speaker, once).confusion
        occurring = int((counts.sum(axis=1) > 0).sum())
        confusions[way] = {
            "names": list(REGION_NAMES[answered.num_regions]),
            "counts": counts.tolist(),
            "chance_uar": round(1 / occurring, DIGITS) if occurring else None,
        }
    return confusions


def _coverage_by_speaker(answered: AnsweredClips, names: list[str], speaker: Ints) -> dict[str, Any] | None:
    inside = inside_ball(answered)
    if inside is None:
        return None
    rated = ~np.isnan(answered.target).any(axis=1)
    return {
        name: {
            "clips": int((rated & (speaker == index)).sum()),
            "coverage": _rounded(inside[rated & (speaker == index)].mean()),
        }
        for index, name in enumerate(names)
        if (rated & (speaker == index)).any()
    }


def _plain(values: dict[str, float]) -> dict[str, Any]:
    return {name: _rounded(value) for name, value in values.items()}


def _rounded(value: float) -> float | None:
    """JSON knows no NaN: null, and a reason beside it where it is a figure."""
    return round(float(value), DIGITS) if math.isfinite(value) else None
