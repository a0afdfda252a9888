"""Decoded frames of any sample format, put at their place on the recording's clock."""

from collections.abc import Iterator
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from emosphere.audio.recording import NativeHeader

TOLERANCE_S: Final = 0.04
"""Stamps that differ less from the count of samples are rounding or codec start-up, more is a gap."""
MAX_UNPROMISED_GAP_S: Final = 30.0
FILL_FRAMES: Final = 1_000_000


class AsFloat:
    """Turns frames into float32 (samples, channels) of the header's rate and channels, full scale at 1."""

    def __init__(self, header: NativeHeader) -> None:
        self._header = header
        self._resampler: Any = None

    def __call__(self, frame: Any) -> NDArray[np.float32]:
        header = self._header
        if frame.rate == header.sample_rate_hz and frame.layout.nb_channels == header.num_channels:
            return _to_float(frame)
        # A stream that changes its rate or channels (joined files, advertisements) follows its beginning.
        if self._resampler is None:
            layout = {1: "mono", 2: "stereo"}.get(header.num_channels, f"{header.num_channels}C")
            self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=header.sample_rate_hz)
        parts = [_to_float(part) for part in self._resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros((0, header.num_channels), dtype=np.float32)


class Timeline:
    """Counts samples, and lets the stamps correct the count where audio is missing."""

    def __init__(self, header: NativeHeader, *, origin_s: float, has_late_start: bool) -> None:
        self._header, self._origin_s, self._has_late_start = header, origin_s, has_late_start
        self._position: int | None = None
        self._disbelieved = 0

    def place(self, frame: Any, samples: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Pieces of (position in samples, samples): the frame, after silence where the stamps leave a gap."""
        rate = self._header.sample_rate_hz
        stamped = None
        if frame.pts is not None:
            stamped = round((float(frame.pts * frame.time_base) - self._origin_s) * rate) + self._disbelieved
        if self._position is None:
            begins_at_zero = stamped is None or abs(stamped) <= TOLERANCE_S * rate or stamped < 0
            self._position = 0 if begins_at_zero or stamped is None else stamped
            if stamped is not None and self._position > 0 and self._has_late_start:
                yield from self._silence(0, self._position)
        elif stamped is not None:
            gap = stamped - self._position
            if gap > TOLERANCE_S * rate and self._believes(stamped, gap):
                yield from self._silence(self._position, gap)
                self._position += gap
            elif abs(gap) > TOLERANCE_S * rate:
                self._disbelieved -= gap
        yield self._position, samples
        self._position += len(samples)

    def _believes(self, stamped: int, gap: int) -> bool:
        promised = self._header.num_frames
        if promised is not None:
            return stamped <= promised + self._header.sample_rate_hz
        return gap <= MAX_UNPROMISED_GAP_S * self._header.sample_rate_hz

    def _silence(self, position: int, num_frames: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for start in range(0, num_frames, FILL_FRAMES):
            length = min(FILL_FRAMES, num_frames - start)
            yield position + start, np.zeros((length, self._header.num_channels), dtype=np.float32)


def _to_float(frame: Any) -> NDArray[np.float32]:
    values = frame.to_ndarray()
    num_channels = frame.layout.nb_channels
    by_sample = values.T if frame.format.is_planar else values.reshape(-1, num_channels)
    if by_sample.dtype.kind == "f":
        return np.ascontiguousarray(by_sample, dtype=np.float32)
    if by_sample.dtype == np.uint8:
        return ((by_sample.astype(np.float32) - 128) / 128).astype(np.float32)
    full_scale = np.float32(-float(np.iinfo(by_sample.dtype).min))
    return np.asarray(by_sample.astype(np.float32) / full_scale, dtype=np.float32)
