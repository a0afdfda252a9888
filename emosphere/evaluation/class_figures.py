"""Named classes against true ones, for many draws of speakers at once."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from emosphere.evaluation.answered import Float64, Ints
from emosphere.metrics import class_scores


class ClassFigures(NamedTuple):
    """One value per draw of speakers, as in ``emosphere.metrics.ClassReport``; NaN where no clip's class is known."""

    uar: Float64
    macro_f1: Float64
    accuracy: Float64
    confusion: Ints
    """(true, predicted): clips of the data themselves (row 0 of the draws)."""


def class_figures(
    predicted: Ints, true: Ints, is_known: npt.NDArray[np.bool_], num_classes: int, speaker: Ints, draws: Float64
) -> ClassFigures:
    """``predicted``, ``true``, ``is_known`` and ``speaker`` (n,); rows whose true class is not known are left out."""
    pair = true[is_known] * num_classes + predicted[is_known]
    place = speaker[is_known] * num_classes**2 + pair
    by_speaker = np.bincount(place, minlength=draws.shape[1] * num_classes**2).reshape(draws.shape[1], -1)
    counts = (draws @ by_speaker.astype(np.float64)).reshape(-1, num_classes, num_classes)
    uar, macro_f1, accuracy = (scores.numpy() for scores in class_scores(torch.from_numpy(counts)))
    return ClassFigures(uar, macro_f1, accuracy, counts[0].astype(np.int64))
