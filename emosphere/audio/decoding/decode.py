"""Open any recording as a stream of 16 kHz blocks."""

import os
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import MODEL_RATE_HZ, DecodeLimits, DecodeOutcome, RecordingHeader
from emosphere.audio.decoding.fallback import FallbackDecoder
from emosphere.audio.resample import first_second
from emosphere.errors import BadRecording

__all__ = ["DecodeLimits", "DecodeOutcome", "DecodedStream", "RecordingHeader", "open_recording"]


class DecodedStream:
    """One open recording: iterate once over blocks, float32 (channels, samples) at 16 kHz; then ask for the outcome."""

    def __init__(
        self,
        header: RecordingHeader,
        start_sample: int,
        blocks: Iterator[NDArray[np.float32]],
        decoder: FallbackDecoder,
    ) -> None:
        self.header, self.start_sample = header, start_sample
        self._blocks, self._decoder = blocks, decoder

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return self._blocks

    @property
    def outcome(self) -> DecodeOutcome:
        """How decoding went; RuntimeError before the last block is out."""
        if self._decoder.outcome is None:
            raise RuntimeError("The outcome of a recording is known once its last block has been taken.")
        return self._decoder.outcome

    def close(self) -> None:
        """Stop early; files are closed."""
        self._decoder.close()


def open_recording(
    path: str, *, start_s: float = 0.0, limits: DecodeLimits, on_progress: Callable[[], None] = lambda: None
) -> DecodedStream:
    """Open the audio file at ``path`` and decode it from about ``start_s``.

    The stream begins at ``start_sample``, at most two seconds before ``start_s``, and its samples are those of a decode
    from the beginning. ``on_progress`` is called while long stretches are passed over in silence.

    Raises BadRecording: EMPTY without bytes or samples; UNSUPPORTED when it is not audio or absurd; NO_AUDIO for a
    container without an audio stream; CORRUPT or TRUNCATED when nothing decodes; REFUSED for too many channels;
    TOO_LONG. While iterating also TOO_SHORT, TOO_LONG and NON_FINITE. OSError when the file itself cannot be read.
    """
    if os.path.getsize(path) == 0:
        raise BadRecording("EMPTY", "The file has no bytes.")
    decoder = FallbackDecoder(path, limits, on_progress)
    second = first_second(start_s, decoder.source.header.sample_rate_hz)
    start_sample = int(start_s) * MODEL_RATE_HZ
    blocks = decoder.blocks(second, start_sample)
    try:
        first = next(blocks, None)
    except BaseException:
        decoder.close()
        raise
    native = decoder.source.header
    header = RecordingHeader(
        codec=native.codec,
        sample_rate_hz=native.sample_rate_hz,
        num_channels=native.num_channels,
        duration_ms=decoder.duration_ms,
    )

    def all_blocks() -> Iterator[NDArray[np.float32]]:
        if first is not None:
            yield first
            yield from blocks

    return DecodedStream(header, start_sample, all_blocks(), decoder)
