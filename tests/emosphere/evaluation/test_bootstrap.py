"""Intervals hold the truth about as often as they say, and know that clips of one speaker are alike."""

import math

import numpy as np
import pytest

from emosphere.evaluation.agreement import agreement
from emosphere.evaluation.bootstrap import Estimate, draw_speakers, estimate, sums_by_speaker, two_sided_p


def test_every_draw_has_as_many_speakers_as_the_data() -> None:
    """And the first row is the data themselves."""
    draws = draw_speakers(5, 300, seed=1)
    assert draws.shape == (301, 5)
    assert draws[0].tolist() == [1] * 5
    assert set(draws.sum(axis=1)) == {5}
    assert abs(draws[1:].mean() - 1) < 1e-9
    assert (draws[1:] == 0).mean() == pytest.approx((1 - 1 / 5) ** 5, abs=0.05)


def test_a_seed_repeats() -> None:
    np.testing.assert_array_equal(draw_speakers(4, 10, seed=7), draw_speakers(4, 10, seed=7))
    assert not np.array_equal(draw_speakers(4, 10, seed=7), draw_speakers(4, 10, seed=8))


def test_no_speaker_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="num_speakers=0"):
        draw_speakers(0, 10, seed=0)


def test_sums_by_speaker_by_hand() -> None:
    sums = sums_by_speaker(np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([1, 0, 1]), 3)
    assert sums.tolist() == [[3, 4], [6, 8], [0, 0]]


def test_the_interval_is_that_of_the_percentiles() -> None:
    interval = estimate(np.concatenate([[0.5], np.linspace(0, 1, 1001)]), num_speakers=9)
    assert interval == pytest.approx(Estimate(0.5, 0.025, 0.975))


def test_draws_without_a_figure_are_left_out() -> None:
    """And one speaker has no interval."""
    drawn = np.array([0.5, 0.4, math.nan, 0.6])
    assert estimate(drawn, num_speakers=2).low == pytest.approx(0.405)
    alone = estimate(drawn, num_speakers=1)
    assert alone.value == 0.5
    assert math.isnan(alone.low)


def simulated(rng: np.random.Generator, num_speakers: int, effect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target and prediction whose true concordance is known; speakers differ by an offset."""
    speaker = np.repeat(np.arange(num_speakers), 20)
    target = 0.4 * rng.normal(size=len(speaker))
    predicted = 0.6 * target + effect * rng.normal(size=num_speakers)[speaker] + 0.2 * rng.normal(size=len(speaker))
    return predicted, target, speaker


def true_ccc(effect: float) -> float:
    return 2 * 0.6 * 0.16 / (0.36 * 0.16 + effect**2 + 0.04 + 0.16)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        predicted, target, speaker = simulated(np.random.default_rng(seed), 40, effect=0.2)
        interval = estimate(
            agreement(predicted, target, speaker, draw_speakers(40, 400, seed=seed)).ccc, num_speakers=40
        )
        held += interval.low <= true_ccc(0.2) <= interval.high
    assert 0.88 <= held / 200 <= 0.99  # 95 % is meant


def test_drawing_speakers_is_wider_than_drawing_clips() -> None:
    """Where speakers differ."""

    def widths(effect: float) -> tuple[float, float]:
        predicted, target, speaker = simulated(np.random.default_rng(5), 30, effect)
        clip = np.arange(len(speaker))
        by_speaker = estimate(
            agreement(predicted, target, speaker, draw_speakers(30, 1000, seed=0)).ccc, num_speakers=30
        )
        by_clip = estimate(agreement(predicted, target, clip, draw_speakers(600, 1000, seed=0)).ccc, num_speakers=600)
        return by_speaker.high - by_speaker.low, by_clip.high - by_clip.low

    by_speaker, by_clip = widths(effect=0.4)
    assert by_speaker > 1.4 * by_clip
    by_speaker, by_clip = widths(effect=0.0)
    assert by_speaker == pytest.approx(by_clip, rel=0.3)


def test_p_by_hand() -> None:
    assert two_sided_p(np.array([1.0] * 97 + [-1.0] * 2)) == pytest.approx(2 * 3 / 100)
    assert two_sided_p(np.zeros(99)) == 1
    assert two_sided_p(np.ones(999)) == pytest.approx(0.002)
    assert math.isnan(two_sided_p(np.full(9, math.nan)))


def test_p_is_small_where_the_interval_leaves_zero_out() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 1.5, 1.8, 2.2, 4.0):
        draws = rng.normal(shift, 1, 2001)
        interval = estimate(np.concatenate([[shift], draws]), num_speakers=9)
        assert (two_sided_p(draws) < 0.05) == (interval.low > 0)
