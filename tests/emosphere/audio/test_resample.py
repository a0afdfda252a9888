"""Every sample at its absolute place, at every rate."""

import numpy as np
import pytest
import soxr

from emosphere.audio.resample import first_second, to_model_rate

RATES = [4_000, 8_000, 11_025, 16_000, 22_050, 22_254, 24_000, 32_000, 44_056, 44_100, 48_000, 96_000, 192_000]


def resampled(wave, rate, sizes, num_dropped=0):
    blocks, start = [], 0
    for size in sizes:
        blocks.append(wave[start : start + size])
        start += size
    blocks.append(wave[start:])
    parts = to_model_rate(iter(blocks), sample_rate_hz=rate, num_channels=wave.shape[1], num_dropped=num_dropped)
    return np.concatenate(list(parts), axis=1)


@pytest.mark.parametrize("rate", RATES)
def test_blocks_change_no_bit(rate):
    wave = np.random.default_rng(0).normal(0, 0.1, (3 * rate, 2)).astype(np.float32)
    expected = wave if rate == 16_000 else soxr.resample(wave, rate, 16_000)
    np.testing.assert_array_equal(resampled(wave, rate, [1, 5000, 0, 777]), expected.T)


@pytest.mark.parametrize("rate", RATES)
def test_a_start_in_the_middle_keeps_the_phase(rate):
    wave = np.random.default_rng(0).normal(0, 0.1, (8 * rate, 1)).astype(np.float32)
    whole = resampled(wave, rate, [])
    second = first_second(5.7, rate)
    part = resampled(wave[second * rate :], rate, [999], num_dropped=(5 - second) * 16_000)
    np.testing.assert_allclose(part, whole[:, 5 * 16_000 :], rtol=0, atol=1e-6)


def test_dropping_more_than_there_is_leaves_nothing():
    wave = np.zeros((8_000, 1), dtype=np.float32)
    assert resampled(wave, 8_000, [100], num_dropped=10**6).shape == (1, 0)
