"""Which channels of a recording hold the same sound, also after a lossy codec has treated each on its own."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LOW_BAND: Final = 16
"""Samples averaged for the low band: below 500 Hz at 16 kHz, where no codec replaces sound by noise."""
MAX_LOW_DIFFERENCE: Final = 10**-3.5
"""Power of the difference in the low band, relative to the channel's. One voice on two channels gives -39 dB (AAC at
48 kbit/s) to nothing (PCM, MP3, Vorbis); a reading recorded in stereo, nearly in the middle, -26 dB."""
MAX_DIFFERENCE: Final = 10**-1.2
"""The same for the whole band, where AAC's made-up noise alone reaches -17 dB."""
SILENCE: Final = 1e-9
"""Power (-90 dB) below which a difference cannot be heard."""


def duplicate_of(samples: NDArray[np.float32]) -> list[int | None]:
    """For each channel of ``samples`` (channels, samples) the lowest earlier channel with the same sound, else None.

    >>> tone = np.sin(np.arange(16000) / 9, dtype=np.float32)
    >>> duplicate_of(np.stack([tone, -tone, tone]))
    [None, None, 0]
    """
    same_as: list[int | None] = []
    for channel, own_samples in enumerate(samples):
        distinct = (earlier for earlier in range(channel) if same_as[earlier] is None)
        same_as.append(next((earlier for earlier in distinct if _is_same(samples[earlier], own_samples)), None))
    return same_as


def _is_same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    # Channels that differ do so at once, nearly always.
    head = slice(0, 16_000)
    return all(
        _power(a - b) <= max(SILENCE, limit * min(_power(a), _power(b)))
        for a, b, limit in (
            (_low_band(one[head]), _low_band(other[head]), 1.0),
            (_low_band(one), _low_band(other), MAX_LOW_DIFFERENCE),
            (one, other, MAX_DIFFERENCE),
        )
    )


def _low_band(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    whole = len(samples) // LOW_BAND * LOW_BAND
    return np.asarray(samples[:whole].reshape(-1, LOW_BAND).mean(axis=1), dtype=np.float32)


def _power(samples: NDArray[np.float32]) -> float:
    """Mean square without the mean: a common offset is no common sound."""
    return float(np.var(samples, dtype=np.float64)) if len(samples) else 0.0
