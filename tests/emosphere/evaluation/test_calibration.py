"""Calibration by hand, against torchmetrics and a slow twin; balls hold what they hold."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from emosphere.evaluation.bootstrap import draw_speakers
from emosphere.evaluation.calibration import NUM_BINS, coverage, reliability

ONCE = np.ones((1, 1))


def test_calibration_error_by_hand() -> None:
    probability = np.array([0.15, 0.15, 0.85, 0.85])
    came_true = np.array([False, True, True, True])
    bins = reliability(probability, came_true, np.zeros(4, np.int64), ONCE)
    assert bins.ece[0] == pytest.approx(0.5 * 0.35 + 0.5 * 0.15)
    assert bins.clips.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 2, 0]
    assert bins.promised[1] == pytest.approx(0.15)
    assert bins.came_true[1] == 0.5


def test_a_probability_of_one_is_in_the_last_bin() -> None:
    assert reliability(np.array([1.0]), np.array([True]), np.zeros(1, np.int64), ONCE).clips[-1] == 1


def test_calibration_error_agrees_with_torchmetrics() -> None:
    torch.manual_seed(1)
    probs, true = torch.randn(500, 8).double().softmax(dim=1), torch.randint(0, 8, (500,))
    top = probs.max(dim=1)
    bins = reliability(top.values.numpy(), (top.indices == true).numpy(), np.zeros(500, np.int64), ONCE)
    wanted = multiclass_calibration_error(probs, true, num_classes=8, n_bins=NUM_BINS, norm="l1")
    assert bins.ece[0] == pytest.approx(float(wanted), abs=1e-6)


def test_every_draw_is_what_the_drawn_clips_themselves_give() -> None:
    rng = np.random.default_rng(0)
    speaker, probability = np.sort(rng.integers(0, 4, 50)), rng.uniform(0, 1, 50)
    came_true = rng.uniform(0, 1, 50) < probability
    draws = draw_speakers(4, 10, seed=0)
    bins, held = reliability(probability, came_true, speaker, draws), coverage(came_true, speaker, draws)
    for place, counts in enumerate(draws):
        rows = [
            r for who, count in enumerate(counts) for _ in range(int(count)) for r in np.flatnonzero(speaker == who)
        ]
        error = 0.0
        for low in np.arange(NUM_BINS) / NUM_BINS:
            inside = [row for row in rows if low <= probability[row] < low + 1 / NUM_BINS]
            error += abs(sum(float(came_true[row]) - probability[row] for row in inside)) / len(rows)
        assert bins.ece[place] == pytest.approx(error, abs=1e-12)
        assert held[place] == pytest.approx(np.mean(came_true[rows]))
