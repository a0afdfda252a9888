"""From the recording's own rate to 16 kHz, block by block, with every sample at its absolute place."""

import math
from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import MODEL_RATE_HZ

PRE_ROLL_S = 1
"""Whole seconds resampled before the first wanted sample; the filter of soxr HQ settles within 20 ms at any rate."""


MAX_PHASES = 4_000
"""soxr steps exactly through ratios of up to this many phases; all rates in common use need at most 640."""


def first_second(start_s: float, sample_rate_hz: int) -> int:
    """The whole second from which to decode so that ``start_s`` comes out as in a decode from the beginning.

    Only whole seconds begin on a sample at every rate, which keeps the phase of the resampling filter. At rates such as
    22,254 Hz that phase drifts (by 0.002 of full scale in two hours of noise): there, only the beginning will do.

    >>> first_second(0.5, 44_100), first_second(61.2, 44_100), first_second(61.2, 22_254)
    (0, 60, 0)
    """
    if MODEL_RATE_HZ // math.gcd(MODEL_RATE_HZ, sample_rate_hz) > MAX_PHASES:
        return 0
    return max(0, int(start_s) - PRE_ROLL_S)


def to_model_rate(
    blocks: Iterator[NDArray[np.float32]], *, sample_rate_hz: int, num_channels: int, num_dropped: int
) -> Iterator[NDArray[np.float32]]:
    """Resample ``blocks`` (samples, channels) to (channels, samples) at 16 kHz, without the first ``num_dropped``.

    soxr removes its own delay; cutting the input elsewhere changes no bit of the output. Empty blocks are passed on
    as signs of life.
    """
    stream = soxr.ResampleStream(sample_rate_hz, MODEL_RATE_HZ, num_channels, dtype="float32", quality="HQ")
    to_drop = num_dropped
    for native in blocks:
        resampled = native if sample_rate_hz == MODEL_RATE_HZ else stream.resample_chunk(native)
        kept = resampled[to_drop:]
        to_drop -= len(resampled) - len(kept)
        yield np.ascontiguousarray(kept.T)
    if sample_rate_hz != MODEL_RATE_HZ:
        tail = stream.resample_chunk(np.zeros((0, num_channels), dtype=np.float32), last=True)
        yield np.ascontiguousarray(tail[to_drop:].T)
