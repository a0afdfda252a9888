"""How waveforms travel between processes and machines: 16 bits a sample, half of what the model computes with."""

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 1 << 15


def to_16_bit(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """The nearest 16-bit samples, any shape; what lies beyond full scale (1.0) ends there.

    >>> to_16_bit(np.float32([0.5, -1.0, 1.5]))
    array([ 16384, -32768,  32767], dtype=int16)
    """
    nearest: NDArray[np.int16] = np.clip(np.rint(samples * np.float32(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(
        np.int16
    )
    return nearest


def from_16_bit(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples in [-1, 1), any shape; exact, and :func:`to_16_bit` gives back the same."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)
