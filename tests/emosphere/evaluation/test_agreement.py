"""Agreement at known points, against slow twins over the drawn rows themselves, and where it is not defined."""

import math

import numpy as np
import pytest
import torch

from emosphere.evaluation.agreement import agreement, extreme_fifths, why_undefined
from emosphere.evaluation.bootstrap import draw_speakers
from emosphere.metrics import ccc

ONCE = np.ones((1, 1))


def one(predicted: list[float], target: list[float]):
    return agreement(np.array(predicted), np.array(target), np.zeros(len(target), np.int64), ONCE)


@pytest.mark.parametrize(("target", "wanted"), [((0.1, 0.4, 0.5, 0.9), 0.943396), ((0.2, 0.5, 0.6, 1.0), 0.909091)])
def test_ccc_of_the_vectors_of_the_method(target: tuple[float, ...], wanted: float) -> None:
    assert one([0.2, 0.4, 0.6, 0.8], list(target)).ccc[0] == pytest.approx(wanted, abs=1e-6)


def test_the_other_figures_by_hand() -> None:
    figures = one([0.0, 0.2, 0.4], [0.0, 0.4, 0.8])
    assert figures.pearson[0] == pytest.approx(1)
    assert figures.mae[0] == pytest.approx(0.2)
    assert figures.bias[0] == pytest.approx(-0.2)
    assert figures.spread_ratio[0] == pytest.approx(0.5)


def textbook(predicted: list[float], target: list[float]) -> tuple[float, ...]:
    """Lin's concordance, Pearson's correlation, error, bias and spread, one clip at a time."""
    n = len(target)
    mean_x, mean_y = sum(predicted) / n, sum(target) / n
    var_x = sum((x - mean_x) ** 2 for x in predicted) / n
    var_y = sum((y - mean_y) ** 2 for y in target) / n
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(predicted, target, strict=True)) / n
    return (
        2 * covariance / (var_x + var_y + (mean_x - mean_y) ** 2),
        covariance / math.sqrt(var_x * var_y),
        sum(abs(x - y) for x, y in zip(predicted, target, strict=True)) / n,
        mean_x - mean_y,
        math.sqrt(var_x / var_y),
    )


def test_every_draw_is_what_the_drawn_clips_themselves_give() -> None:
    rng = np.random.default_rng(1)
    speaker = np.sort(rng.integers(0, 5, 60))
    target = rng.uniform(-1, 1, 60)
    predicted = 0.5 * target + rng.normal(size=60) * 0.2 + 0.1
    draws = draw_speakers(5, 20, seed=3)
    figures = agreement(predicted, target, speaker, draws)
    for place, counts in enumerate(draws):
        rows = [
            row for who, count in enumerate(counts) for _ in range(int(count)) for row in np.flatnonzero(speaker == who)
        ]
        wanted = textbook(predicted[rows].tolist(), target[rows].tolist())
        np.testing.assert_allclose([figure[place] for figure in figures], wanted, rtol=1e-9)
        table = [torch.from_numpy(values[rows])[:, None] for values in (predicted, target)]
        assert figures.ccc[place] == pytest.approx(float(ccc(*table)[0]), rel=1e-9)


@pytest.mark.parametrize(
    ("predicted", "target", "reason"),
    [
        ([], [], "nobody rated"),
        ([0.1], [0.3], "only one clip"),
        ([0.1, 0.2], [0.3, 0.3], "all targets are equal"),
        ([0.1, 0.1], [0.3, 0.4], "all predictions are equal"),
    ],
)
def test_what_does_not_vary_has_no_concordance_and_says_why(
    predicted: list[float], target: list[float], reason: str
) -> None:
    assert math.isnan(one(predicted, target).ccc[0])
    assert reason in why_undefined(np.array(predicted), np.array(target))


def test_extreme_fifths_by_hand() -> None:
    target = np.array([0.5, -0.4, 0.1, 0.3, -0.9, 0.0, 0.2, 0.9, -0.1, 0.4])
    fifths = extreme_fifths(target)
    assert (fifths.lowest.tolist(), fifths.highest.tolist()) == ([1, 4], [0, 7])
    assert (fifths.up_to, fifths.down_to, fifths.overlap) == (-0.4, 0.5, False)


def test_equals_of_the_last_extreme_clip_belong_to_the_fifth() -> None:
    fifths = extreme_fifths(np.array([-0.5, -0.5, -0.5, 0.0, 0.5]))
    assert fifths.lowest.tolist() == [0, 1, 2]
    assert fifths.highest.tolist() == [4]


def test_targets_that_are_mostly_equal_have_no_extremes_apart() -> None:
    assert extreme_fifths(np.zeros(10)).overlap


def test_nothing_rated_has_no_extremes() -> None:
    with pytest.raises(ValueError, match="no target is rated"):
        extreme_fifths(np.zeros(0))
