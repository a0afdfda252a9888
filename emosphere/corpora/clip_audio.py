"""The audio behind a row: how long it is by its header, or all of it at the model's rate."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import MODEL_RATE_HZ
from emosphere.audio.decoding.container_facts import missing_end, wav_promised_frames
from emosphere.audio.decoding.decode import DecodeLimits, open_recording
from emosphere.audio.decoding.fallback import TOLERATED_LOSS_S
from emosphere.clips.rows import Row
from emosphere.errors import BadRecording
from emosphere.store import Location, explained, locate

LIMITS = DecodeLimits()
HEADER_BYTES = 1 << 16
"""What is fetched at once from a remote file whose header is wanted."""
SLACK_MS = 50
"""How far a clip's end may lie behind the end of its audio: rounding."""


def clip_ms(row: Row) -> int:
    """Length of the row's clip by the header of its audio, which need not be decoded.

    Raises BadRecording: NOT_FOUND, EMPTY, UNSUPPORTED when libsndfile, by which training reads, does not know it,
    TRUNCATED (local files), TOO_SHORT under 50 ms, CORRUPT when the clip does not lie within its audio, NO_AUDIO
    when it lacks the clip's channel.
    """
    location = locate(row["uri"])
    duration_ms, num_channels = _header(location)
    if row.get("channel") is not None and row["channel"] >= num_channels:
        raise BadRecording("NO_AUDIO", f"The audio has no channel {row['channel']}, only {num_channels}.")
    return _length(row, duration_ms)


def clip_samples(row: Row) -> NDArray[np.float32]:
    """The row's clip at 16 kHz, its channel or the average of all; any format that `emosphere score` reads.

    Raises BadRecording as :func:`emosphere.audio.decoding.decode.open_recording`, and as :func:`clip_ms`.
    """
    with _local(locate(row["uri"])) as path:
        stream = open_recording(path, start_s=row["start_ms"] / 1000, limits=LIMITS)
        try:
            first = row["start_ms"] * MODEL_RATE_HZ // 1000 - stream.start_sample
            end_ms = row.get("end_ms")
            wanted = None if end_ms is None else end_ms * MODEL_RATE_HZ // 1000 - stream.start_sample
            blocks, num_samples = [], 0
            for block in stream:
                blocks.append(block)
                num_samples += block.shape[1]
                if wanted is not None and num_samples >= wanted:
                    break
            else:
                if flaw := stream.outcome.flaw:
                    raise BadRecording(flaw, stream.outcome.message or "Something is missing.")
        finally:
            stream.close()
    samples = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), np.float32)
    if row.get("channel") is not None and row["channel"] >= len(samples):
        raise BadRecording("NO_AUDIO", f"The audio has no channel {row['channel']}, only {len(samples)}.")
    _length(row, (stream.start_sample + samples.shape[1]) * 1000 // MODEL_RATE_HZ)
    span = samples[:, max(first, 0) : wanted]
    mono: NDArray[np.float32] = span.mean(axis=0) if row.get("channel") is None else span[row["channel"]]
    return mono


def _length(row: Row, duration_ms: int) -> int:
    start_ms, end_ms = row["start_ms"], row.get("end_ms")
    if end_ms is not None and end_ms > duration_ms + SLACK_MS:
        raise BadRecording("CORRUPT", f"The clip ends at {end_ms} ms, its audio at {duration_ms} ms.")
    length_ms: int = min(duration_ms, end_ms if end_ms is not None else duration_ms) - start_ms
    if length_ms < 1000 * LIMITS.min_duration_s:
        raise BadRecording("TOO_SHORT", f"The clip is {length_ms} ms long.")
    return length_ms


def _header(location: Location) -> tuple[int, int]:
    """Duration in milliseconds and number of channels."""
    try:
        with explained(f"read {location.uri}", absence=False):
            if location.is_local:
                rate_hz, num_frames, num_channels = _local_header(location.path)
            else:
                with (
                    location.fs.open(location.path, "rb", block_size=HEADER_BYTES) as file,
                    soundfile.SoundFile(file) as sound,
                ):
                    rate_hz, num_frames, num_channels = sound.samplerate, sound.frames, sound.channels
    except FileNotFoundError:
        raise BadRecording("NOT_FOUND", "There is no such file.") from None
    except soundfile.LibsndfileError as error:
        raise BadRecording(
            "UNSUPPORTED", f"Training cannot read it ({error}); --shards DIR converts what `emosphere score` can read."
        ) from None
    if not 0 <= num_frames <= LIMITS.max_duration_s * rate_hz:
        raise BadRecording("UNSUPPORTED", "Its header does not say how long it is; --shards DIR finds out.")
    return num_frames * 1000 // rate_hz, num_channels


def _local_header(path: str) -> tuple[int, int, int]:
    """Rate, samples per channel and channels; a file that lacks its end is refused."""
    if not os.path.getsize(path):
        raise BadRecording("EMPTY", "The file has no bytes.")
    with soundfile.SoundFile(path) as sound:
        rate_hz, num_frames, num_channels = sound.samplerate, sound.frames, sound.channels
    promised = wav_promised_frames(path) or 0
    if promised > num_frames + TOLERATED_LOSS_S * rate_hz:
        raise BadRecording("TRUNCATED", f"It holds {num_frames / rate_hz:.1f} of {promised / rate_hz:.1f} s.")
    if missing := missing_end(path):
        raise BadRecording("TRUNCATED", f"Its end is missing: {missing}.")
    return rate_hz, num_frames, num_channels


@contextlib.contextmanager
def _local(location: Location) -> Iterator[str]:
    """Path of a file with these bytes."""
    try:
        if location.is_local:
            os.stat(location.path)
            yield location.path
            return
        content = location.read_bytes()
    except FileNotFoundError:
        raise BadRecording("NOT_FOUND", "There is no such file.") from None
    with tempfile.NamedTemporaryFile(prefix="emosphere-") as file:
        file.write(content)
        file.flush()
        yield file.name
