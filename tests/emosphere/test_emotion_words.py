"""Weak labels as published, scaled by intensity."""

import pytest
import torch

from emosphere.emotion_words import EMOTIONS, MEAN_VAD, weak_vad


def test_strong_is_the_mean_and_all_else_three_quarters_of_it() -> None:
    assert weak_vad("anger", "strong") == (-0.51, 0.59, 0.25)
    assert weak_vad("anger", "normal") == weak_vad("anger", "") == pytest.approx((-0.3825, 0.4425, 0.1875))


def test_dominance_of_these_norms_nearly_copies_valence() -> None:
    """The reason why the model card calls dominance not validated."""
    table = torch.tensor([MEAN_VAD[emotion] for emotion in EMOTIONS])
    correlation = torch.corrcoef(table.T)
    assert correlation[0, 2] > correlation[1, 2] + 0.2
