"""Agreement of predicted with rated values, for many draws of speakers at once."""

from typing import NamedTuple

import numpy as np

from emosphere.evaluation.answered import SPREAD_FLOOR, Float64, Ints
from emosphere.evaluation.bootstrap import sums_by_speaker


class Agreement(NamedTuple):
    """One value per draw of speakers; NaN where a figure is not defined."""

    ccc: Float64
    """Concordance in [-1, 1], population moments (Lin 1989); not defined where targets or predictions are all equal."""
    pearson: Float64
    """Correlation in [-1, 1]; not defined where concordance is not."""
    mae: Float64
    """Mean absolute error, of the centred scale."""
    bias: Float64
    """Mean prediction minus mean target."""
    spread_ratio: Float64
    """Standard deviation of the predictions over that of the targets: below 1 the model hedges."""


def agreement(predicted: Float64, target: Float64, speaker: Ints, draws: Float64) -> Agreement:
    """Of one dimension: ``(rated,)`` each, about in [-1, 1]; ``draws`` as ``draw_speakers`` gives them."""
    x, y = predicted, target
    powers = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, np.abs(x - y)], axis=1)
    sums = draws @ sums_by_speaker(powers, speaker, draws.shape[1])
    # Raw moments will do: values lie in [-1, 1], so float64 leaves a variance an error of 1e-16.
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y, xx, yy, xy, mae = (sums[:, 1:] / sums[:, :1]).T
        var_x, var_y = np.maximum(xx - mean_x**2, 0), np.maximum(yy - mean_y**2, 0)
        covariance = xy - mean_x * mean_y
        varies = (var_x > SPREAD_FLOOR**2) & (var_y > SPREAD_FLOOR**2)
        return Agreement(
            ccc=np.where(varies, 2 * covariance / (var_x + var_y + (mean_x - mean_y) ** 2), np.nan),
            pearson=np.where(varies, covariance / np.sqrt(var_x * var_y), np.nan),
            mae=mae,
            bias=mean_x - mean_y,
            spread_ratio=np.where(var_y > SPREAD_FLOOR**2, np.sqrt(var_x / var_y), np.nan),
        )


def why_undefined(predicted: Float64, target: Float64) -> str:
    """Why these values, on a scale of -1 to 1, have no concordance."""
    if not len(target):
        return "nobody rated it on these clips"
    if len(target) < 2:
        return "only one clip is rated"
    return "all targets are equal" if target.std() < SPREAD_FLOOR else "all predictions are equal"


class Fifths(NamedTuple):
    """The clips with the lowest and the highest fifth of the targets."""

    lowest: Ints
    """Rows."""
    highest: Ints
    up_to: float
    """Highest target among the lowest."""
    down_to: float
    """Lowest target among the highest."""

    @property
    def overlap(self) -> bool:
        """Whether so many targets are equal that the two are not apart."""
        return self.up_to >= self.down_to


def extreme_fifths(target: Float64) -> Fifths:
    """Rows of the ``ceil(n / 5)`` lowest and highest of n rated targets; equals of the last one belong to them too.

    Raises ValueError where nothing is rated.
    """
    ordered = np.sort(target)
    if not len(ordered):
        raise ValueError("no target is rated, so none is extreme.")
    fifth = -(-len(ordered) // 5)
    up_to, down_to = float(ordered[fifth - 1]), float(ordered[-fifth])
    return Fifths(np.flatnonzero(target <= up_to), np.flatnonzero(target >= down_to), up_to, down_to)
