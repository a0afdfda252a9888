"""How well a segment can be heard: level, clipping, noise, bandwidth; and whether its scores deserve trust."""

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import MODEL_RATE_HZ

FRAME: Final = 512
FLOOR_DB: Final = -120.0
"""Level reported for digital silence; 24-bit audio has nothing below -140 dB."""
CLIP_LEVEL: Final = 0.985
"""Samples this near full scale count as clipped: resampling rounds the flat tops a little."""
FFT: Final = 1024
BAND_HZ: Final = 250
BAND_RANGE_DB: Final = 45.0
"""A band counts as present when it lies at most this far below the loudest band."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityConfig:
    """Below which quality a segment's scores are marked as low."""

    min_s: float = 1.0
    """Shorter segments are ``short``."""
    max_clipped_ratio: float = 0.01
    """With more clipped samples a segment is ``clipped``."""
    min_rms_db: float = -50.0
    """Segments softer than this (dB of full scale) are ``quiet``: what is left is noise of coding and quantising."""
    min_snr_db: float = 6.0
    """With less speech above noise a segment is ``noisy``."""

    def __post_init__(self) -> None:
        for name in ("min_s", "max_clipped_ratio", "min_rms_db", "min_snr_db"):
            if math.isnan(value := getattr(self, name)):
                raise ValueError(f"{name}={value} must be a number; one that no segment reaches leaves the reason out.")


class Quality(NamedTuple):
    """What a listener with instruments would say about a segment."""

    rms_db: float
    """Level in dB relative to a full-scale square wave, at least -120."""
    clipped_ratio: float
    """Share of samples at full scale, in [0, 1]."""
    snr_db: float | None
    """Speech above noise, in dB; None where the cell has no frame without speech."""
    bandwidth_hz: float | None
    """Upper edge of what the segment holds, at most 8,000; None in silence."""


def measure(samples: NDArray[np.float32], *, is_speech: NDArray[np.bool_], noise_db: float | None) -> Quality:
    """Measure one segment (1-D, 16 kHz).

    ``is_speech`` says for each begun 512 samples whether they hold speech; ``noise_db`` is the level of the cell's
    frames without speech, None where there are none.
    """
    speech_db = level_db(samples, is_speech) if is_speech.any() else level_db(samples, None)
    return Quality(
        rms_db=level_db(samples, None),
        clipped_ratio=float(np.mean(np.abs(samples) >= CLIP_LEVEL)) if len(samples) else 0.0,
        snr_db=None if noise_db is None else _above_noise_db(speech_db, noise_db),
        bandwidth_hz=bandwidth_hz(samples),
    )


def level_db(samples: NDArray[np.float32], is_chosen: NDArray[np.bool_] | None) -> float:
    """Level of ``samples`` without their mean, over the 512-sample frames chosen (None: all), in dB of full scale."""
    values = samples.astype(np.float64)
    if is_chosen is not None:
        values = values[np.repeat(is_chosen, FRAME)[: len(values)]]
    if not len(values):
        return FLOOR_DB
    # A constant offset is an electrical fault, not sound.
    return float(max(FLOOR_DB, 10 * np.log10(max(float(np.var(values)), 1e-30))))


def noise_level_db(samples: NDArray[np.float32], is_speech: NDArray[np.bool_]) -> float | None:
    """Level of a cell's frames without speech; None where every frame holds speech.

    The median over frames, so that a door or a ring tone does not count as noise.
    """
    whole = len(samples) // FRAME
    silent = samples[: whole * FRAME].reshape(whole, FRAME)[~is_speech[:whole]]
    if not len(silent):
        return None
    power = np.var(silent.astype(np.float64), axis=1)
    return float(max(FLOOR_DB, 10 * np.log10(max(float(np.median(power)), 1e-30))))


def bandwidth_hz(samples: NDArray[np.float32]) -> float | None:
    """Upper edge of the highest 250 Hz band within 45 dB of the loudest; None for silence or too few samples."""
    num_frames = len(samples) // FFT
    if num_frames == 0:
        return None
    frames = samples[: num_frames * FFT].reshape(num_frames, FFT).astype(np.float64)
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(FFT)
    power = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).mean(axis=0)[:-1]
    bands = power.reshape(-1, BAND_HZ * FFT // MODEL_RATE_HZ).mean(axis=1)
    if bands.max() < 1e-12:
        return None
    present = np.flatnonzero(bands >= bands.max() * 10 ** (-BAND_RANGE_DB / 10))
    return float((present[-1] + 1) * BAND_HZ)


def confidence(quality: Quality, duration_s: float, config: QualityConfig) -> tuple[Literal["ok", "low"], str | None]:
    """Whether a segment's scores deserve trust; if not, why: any of short, clipped, quiet, noisy, joined by commas."""
    reasons = [
        reason
        for reason, holds in (
            ("short", duration_s < config.min_s),
            ("clipped", quality.clipped_ratio > config.max_clipped_ratio),
            ("quiet", quality.rms_db < config.min_rms_db),
            ("noisy", quality.snr_db is not None and quality.snr_db < config.min_snr_db),
        )
        if holds
    ]
    return ("low", ",".join(reasons)) if reasons else ("ok", None)


def _above_noise_db(speech_db: float, noise_db: float) -> float:
    """Speech frames hold speech and noise; what the noise adds is taken off."""
    speech, noise = 10 ** (speech_db / 10), 10 ** (noise_db / 10)
    # At least a tenth of the noise remains: -10 dB stands for "not above the noise".
    return float(10 * np.log10(max(speech - noise, 0.1 * noise) / noise))
