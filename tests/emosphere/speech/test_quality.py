"""Known sounds have known quality."""

import numpy as np
import pytest

from emosphere.speech.quality import (
    Quality,
    QualityConfig,
    bandwidth_hz,
    confidence,
    level_db,
    measure,
    noise_level_db,
)

CONFIG = QualityConfig()
GOOD = Quality(rms_db=-20.0, clipped_ratio=0.0, snr_db=30.0, bandwidth_hz=7000.0)


def sine(frequency_hz: float, amplitude: float, duration_s: float = 1.024) -> np.ndarray:
    time_s = np.arange(round(duration_s * 16_000)) / 16_000
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def test_a_full_sine_has_minus_three_decibels():
    assert level_db(sine(1000, 1.0), None) == pytest.approx(-3.01, abs=0.01)
    assert level_db(sine(1000, 0.1), None) == pytest.approx(-23.01, abs=0.01)


def test_an_offset_is_no_level():
    assert level_db(sine(1000, 0.1) + np.float32(0.5), None) == pytest.approx(-23.01, abs=0.01)


def test_silence_is_at_the_floor():
    assert level_db(np.zeros(5000, dtype=np.float32), None) == -120.0
    assert level_db(np.zeros(0, dtype=np.float32), None) == -120.0


def test_level_counts_the_chosen_frames_only():
    samples = np.concatenate([sine(1000, 0.5, 0.512), sine(1000, 0.005, 0.512)])
    chosen = np.arange(32) < 16
    assert level_db(samples, chosen) == pytest.approx(-9.03, abs=0.05)


def test_clipped_samples_are_counted():
    clipped = np.clip(sine(100, 2.0), -1, 1)
    quality = measure(clipped, is_speech=np.ones(32, dtype=bool), noise_db=None)
    # Two thirds of a sine of twice full scale lie beyond it.
    assert quality.clipped_ratio == pytest.approx(2 / 3, abs=0.01)
    assert measure(sine(100, 0.9), is_speech=np.ones(32, dtype=bool), noise_db=None).clipped_ratio == 0.0


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
def test_speech_above_noise_is_what_was_mixed(snr_db):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 64 * 512).astype(np.float32)
    samples = noise.copy()
    samples[: 32 * 512] += sine(500, 0.01 * np.sqrt(2) * 10 ** (snr_db / 20))[: 32 * 512]
    is_speech = np.arange(64) < 32
    noise_db = noise_level_db(samples, is_speech)
    quality = measure(samples[: 32 * 512], is_speech=np.ones(32, dtype=bool), noise_db=noise_db)
    assert quality.snr_db == pytest.approx(snr_db, abs=0.5)


def test_without_a_silent_frame_nothing_is_known_of_noise():
    assert noise_level_db(sine(500, 0.1), np.ones(32, dtype=bool)) is None
    assert measure(sine(500, 0.1), is_speech=np.ones(32, dtype=bool), noise_db=None).snr_db is None


def test_one_slamming_door_is_no_noise():
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.001, 64 * 512).astype(np.float32)
    samples[:1024] = 0.9
    samples[:1024:2] = -0.9
    assert noise_level_db(samples, np.zeros(64, dtype=bool)) == pytest.approx(-60, abs=0.5)


@pytest.mark.parametrize("edge_hz", [1000, 3400, 7900])
def test_bandwidth_is_where_the_spectrum_ends(edge_hz):
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(0, 0.1, 32_000))
    spectrum[np.fft.rfftfreq(32_000, 1 / 16_000) > edge_hz] = 0
    samples = np.fft.irfft(spectrum).astype(np.float32)
    assert bandwidth_hz(samples) == pytest.approx(edge_hz, abs=250)


def test_silence_has_no_bandwidth():
    assert bandwidth_hz(np.zeros(5000, dtype=np.float32)) is None
    assert bandwidth_hz(sine(500, 0.1, 0.05)) is None


@pytest.mark.parametrize(
    ("change", "duration_s", "reason"),
    [
        ({}, 3.0, None),
        ({}, 0.5, "short"),
        ({"clipped_ratio": 0.05}, 3.0, "clipped"),
        ({"rms_db": -60.0}, 3.0, "quiet"),
        ({"snr_db": 3.0}, 3.0, "noisy"),
        ({"snr_db": None}, 3.0, None),
        ({"clipped_ratio": 0.05, "rms_db": -60.0, "snr_db": 0.0}, 0.2, "short,clipped,quiet,noisy"),
    ],
)
def test_low_confidence_has_its_reasons(change, duration_s, reason):
    expected = ("ok", None) if reason is None else ("low", reason)
    assert confidence(GOOD._replace(**change), duration_s, CONFIG) == expected
