"""Intervals over speakers: whole speakers are drawn with replacement (the cluster bootstrap; Davison & Hinkley 1997).

Every figure here is a function of sums over clips. So a draw is how often each speaker came up, and a figure of all
draws is a function of ``draws @ sums by speaker``: one product, however many clips there are.
"""

from typing import NamedTuple

import numpy as np

from emosphere.evaluation.answered import Float64, Ints

LEVEL = 0.95
"""Share of the draws inside an interval."""


class Estimate(NamedTuple):
    """A figure with its percentile interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def draw_speakers(num_speakers: int, num_draws: int, *, seed: int) -> Float64:
    """(1 + num_draws, num_speakers): how often each speaker came up in each draw; row 0 is the data, each once."""
    if num_speakers < 1 or num_draws < 0:
        raise ValueError(f"num_speakers={num_speakers} must be at least 1 and num_draws={num_draws} at least 0.")
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), size=num_draws)
    return np.concatenate([np.ones((1, num_speakers)), counts]).astype(np.float64)


def sums_by_speaker(values: Float64, speaker: Ints, num_speakers: int) -> Float64:
    """(speaker, k): sums of the rows of ``values``, (n, k), that each speaker said."""
    sums = np.zeros((num_speakers, values.shape[1]))
    np.add.at(sums, speaker, values)
    return sums


def estimate(drawn: Float64, *, num_speakers: int) -> Estimate:
    """The figure (row 0) with the percentile interval of its draws; draws where it is not defined are left out.

    One speaker cannot tell how speakers differ: then there is no interval. Over few it is too narrow: with moderate
    differences between speakers 95 % came out as 81 % over 7, 90 % over 20, 95 % over 40 (400 simulated tests each).
    """
    value, draws = float(drawn[0]), drawn[1:][np.isfinite(drawn[1:])]
    if not np.isfinite(value) or num_speakers < 2 or not len(draws):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def two_sided_p(differences: Float64) -> float:
    """Twice the share of draws on the rarer side of 0, counted with the data themselves; at most 1.

    ``differences`` are those of the draws, without row 0. It is below 0.05 where the 95 % interval leaves 0 out (to one
    draw), and never 0: 1,000 draws cannot show less than 0.002.
    """
    draws = differences[np.isfinite(differences)]
    if not len(draws):
        return float("nan")
    rarer = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (1 + rarer) / (1 + len(draws)))
