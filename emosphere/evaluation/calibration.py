"""Whether probabilities and error balls mean what they say, for many draws of speakers at once."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emosphere.evaluation.answered import Float64, Ints
from emosphere.evaluation.bootstrap import sums_by_speaker

NUM_BINS = 10
"""Bins of equal width over [0, 1]."""


class Reliability(NamedTuple):
    """A probability against how often what it promised came true."""

    ece: Float64
    """(draw,): expected calibration error in [0, 1] (Guo et al. 2017): the mean over clips of |share that came true -
    mean probability| of the clip's bin. NaN without clips."""
    clips: Ints
    """(NUM_BINS,): clips per bin, of the data themselves."""
    promised: Float64
    """(NUM_BINS,): mean probability per bin; NaN in an empty one."""
    came_true: Float64
    """(NUM_BINS,): share that came true; NaN in an empty one."""


def reliability(
    probability: npt.NDArray[np.floating], came_true: npt.NDArray[np.bool_], speaker: Ints, draws: Float64
) -> Reliability:
    """``probability`` in [0, 1] and whether the event happened, ``(n,)`` each."""
    place = np.minimum((probability * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    values = np.zeros((len(probability), NUM_BINS, 3))
    values[np.arange(len(place)), place] = np.stack([np.ones(len(place)), probability, came_true], axis=1)
    sums = draws @ sums_by_speaker(values.reshape(len(place), NUM_BINS * 3), speaker, draws.shape[1])
    clips, promised, true = np.moveaxis(sums.reshape(len(draws), NUM_BINS, 3), -1, 0)
    with np.errstate(invalid="ignore"):
        return Reliability(
            ece=np.abs(true - promised).sum(axis=1) / clips.sum(axis=1),
            clips=clips[0].astype(np.int64),
            promised=promised[0] / clips[0],
            came_true=true[0] / clips[0],
        )


def coverage(inside: npt.NDArray[np.bool_], speaker: Ints, draws: Float64) -> Float64:
    """(draw,): share of clips whose target lies in the ball around the answer."""
    values = np.stack([np.ones(len(inside)), inside], axis=1).astype(np.float64)
    clips, held = (draws @ sums_by_speaker(values, speaker, draws.shape[1])).T
    with np.errstate(invalid="ignore"):
        return np.asarray(held / clips)
