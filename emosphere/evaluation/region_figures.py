"""Named regions against true ones, for many draws of speakers at once."""

from typing import NamedTuple

import numpy as np
import torch

from emosphere.evaluation.answered import Float64, Ints
from emosphere.metrics import region_scores


class RegionFigures(NamedTuple):
    """One value per draw of speakers, as in ``emosphere.metrics.RegionReport``; NaN where no clip has a region."""

    uar: Float64
    macro_f1: Float64
    accuracy: Float64
    confusion: Ints
    """(true, predicted): clips of the data themselves (row 0 of the draws)."""


def region_figures(predicted: Ints, true: Ints, num_regions: int, speaker: Ints, draws: Float64) -> RegionFigures:
    """``predicted`` and ``true`` (n,); rows with a negative true region have none and are left out."""
    located = true >= 0
    pair = true[located] * num_regions + predicted[located]
    place = speaker[located] * num_regions**2 + pair
    by_speaker = np.bincount(place, minlength=draws.shape[1] * num_regions**2).reshape(draws.shape[1], -1)
    counts = (draws @ by_speaker.astype(np.float64)).reshape(-1, num_regions, num_regions)
    uar, macro_f1, accuracy = (scores.numpy() for scores in region_scores(torch.from_numpy(counts)))
    return RegionFigures(uar, macro_f1, accuracy, counts[0].astype(np.int64))
