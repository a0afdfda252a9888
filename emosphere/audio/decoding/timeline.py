"""Decoded frames of any sample format, put at their place on the recording's clock and gathered into blocks."""

from collections.abc import Iterator
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import NativeHeader

TOLERANCE_S: Final = 0.04
"""Stamps in milliseconds that differ less from the count of samples are rounding or codec start-up, more is a gap."""
EXACT_TOLERANCE_S: Final = 0.005
"""The same for stamps that number samples. The shortest packets in use last 10 ms: one lost packet is a gap."""
MAX_UNPROMISED_GAP_S: Final = 30.0
"""Without a promised length, longer gaps are taken for broken stamps."""
SILENCE_FRAMES: Final = 1_000_000


class Timeline:
    """Counts samples, and lets the stamps correct the count where audio is missing."""

    def __init__(self, header: NativeHeader, *, origin_s: float, is_exact: bool, is_from_beginning: bool) -> None:
        self._header, self._origin_s, self._is_from_beginning = header, origin_s, is_from_beginning
        self._rate = header.sample_rate_hz
        self._tolerance = round((EXACT_TOLERANCE_S if is_exact else TOLERANCE_S) * self._rate)
        self._first_tolerance = 0 if is_exact else self._tolerance
        self.position: int | None = None
        """Where the next sample lies; None before the first frame."""
        self._disbelieved = 0

    def gap_before(self, time_s: float | None) -> int:
        """How many samples are missing before the frame stamped ``time_s``; the position moves past them."""
        stamped = None
        if time_s is not None:
            stamped = round((time_s - self._origin_s) * self._rate) + self._disbelieved
        if self.position is None:
            self.position = stamped if stamped is not None and stamped > self._first_tolerance else 0
            return self.position if self._is_from_beginning else 0
        gap = 0 if stamped is None else stamped - self.position
        if abs(gap) <= self._tolerance:
            return 0
        if gap < 0 or not self._is_believable(self.position + gap, gap):
            self._disbelieved -= gap
            return 0
        self.position += gap
        return gap

    def advance(self, num_samples: int) -> None:
        """Move past a frame."""
        self.position = (self.position or 0) + num_samples

    def _is_believable(self, stamped: int, gap: int) -> bool:
        if self._header.num_frames is not None:
            return stamped <= self._header.num_frames + self._rate
        return gap <= MAX_UNPROMISED_GAP_S * self._rate


class Blocks:
    """Gathers frames into float32 blocks (samples, channels) that begin at a wanted sample; full scale is 1."""

    def __init__(self, header: NativeHeader, *, start_frame: int, block_frames: int) -> None:
        self._header, self._start_frame, self._block_frames = header, start_frame, block_frames
        self._waiting = av.AudioFifo()
        self._num_early = 0
        self._conformer: Any = None

    def conform(self, frame: Any) -> list[Any]:
        """``frame`` itself; where a stream changes its rate or channels (joined files), as its beginning was."""
        header = self._header
        if frame.rate == header.sample_rate_hz and frame.layout.nb_channels == header.num_channels:
            return [frame]
        key = (frame.rate, frame.layout.name, frame.format.name, frame.time_base)
        if self._conformer is None or self._conformer[0] != key:
            layout = {1: "mono", 2: "stereo"}.get(header.num_channels, f"{header.num_channels}C")
            self._conformer = key, av.AudioResampler(format="fltp", layout=layout, rate=header.sample_rate_hz)
        return list(self._conformer[1].resample(frame))

    def add(self, frame: Any, *, position: int) -> Iterator[NDArray[np.float32]]:
        """Add the frame at ``position``; a block comes out whenever one is full."""
        if position + frame.samples <= self._start_frame:
            return
        if position < self._start_frame:
            self._num_early = self._start_frame - position
        # The buffer insists on stamps without a jump; the timeline has dealt with them.
        frame.pts = None
        try:
            self._waiting.write(frame)
        except ValueError:
            # Another sample format than before: what waits goes out first.
            yield from self.flush()
            self._waiting = av.AudioFifo()
            self._waiting.write(frame)
        if self._waiting.samples >= self._block_frames:
            yield from self.flush()

    def flush(self) -> Iterator[NDArray[np.float32]]:
        """What waits, if anything does."""
        frame = self._waiting.read(0) if self._waiting.samples else None
        if frame is not None:
            yield _to_float(frame)[self._num_early :]
            self._num_early = 0

    def silence(self, *, position: int, num_frames: int) -> Iterator[NDArray[np.float32]]:
        """Silence in place of missing audio, in bounded pieces."""
        stop = position + num_frames
        start = max(position, self._start_frame)
        if start < stop:
            yield from self.flush()
        for at in range(start, stop, SILENCE_FRAMES):
            yield np.zeros((min(SILENCE_FRAMES, stop - at), self._header.num_channels), dtype=np.float32)


def _to_float(frame: Any) -> NDArray[np.float32]:
    values: NDArray[Any] = frame.to_ndarray()
    by_sample = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if by_sample.dtype.kind == "f":
        return np.ascontiguousarray(by_sample, dtype=np.float32)
    if by_sample.dtype == np.uint8:
        return np.ascontiguousarray((by_sample.astype(np.float32) - 128) / 128, dtype=np.float32)
    full_scale = np.float32(-float(np.iinfo(by_sample.dtype).min))
    return np.ascontiguousarray(by_sample.astype(np.float32) / full_scale, dtype=np.float32)
