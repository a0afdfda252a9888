"""The order of decoders: which reads a recording, which goes on when that one gives up, what is refused and why."""

import os
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import (
    MODEL_RATE_HZ,
    DecodeLimits,
    DecodeOutcome,
    Flaw,
    NativeHeader,
    UnknownCodec,
    Unreadable,
)
from emosphere.audio.decoding.container_facts import kind_of, missing_end
from emosphere.audio.decoding.ffmpeg import AvSource
from emosphere.audio.decoding.libsndfile import SoundfileSource
from emosphere.audio.resample import to_model_rate
from emosphere.errors import BadRecording

TOLERATED_LOSS_S: Final = 0.2
"""Less audio than promised by up to this is padding and rounding of headers, not a loss."""
MIN_DAMAGED_PACKETS: Final = 3
"""Where MP3s were joined, a packet or two cannot be decoded; that is no damage."""
MIN_BITS_PER_S: Final = 100
"""A header that promises more time than this rate could fill lies about its length (digital silence in FLAC: 160)."""


class Source(Protocol):
    """What each decoder offers."""

    header: NativeHeader
    damage: str | None
    num_damaged: int
    missing_end: str | None

    def read_from(self, start_frame: int) -> Iterator[NDArray[np.float32]]: ...


class FallbackDecoder:
    """libsndfile first where it is exact, then FFmpeg, from where the first one gave up."""

    def __init__(self, path: str, limits: DecodeLimits, on_progress: Callable[[], None]) -> None:
        self._path, self._limits, self._on_progress = path, limits, on_progress
        self._open_iterator: Iterator[NDArray[np.float32]] | None = None
        self.outcome: DecodeOutcome | None = None
        self.source: Source = self._first_source()
        self._check_header()
        self.promised_s = self._promised_s()

    @property
    def duration_ms(self) -> int | None:
        """The promised length, where it can be believed."""
        if self.promised_s is None or self.promised_s > self._limits.max_duration_s:
            return None
        return round(1000 * self.promised_s)

    def blocks(self, second: int, start_sample: int) -> Iterator[NDArray[np.float32]]:
        """Blocks (channels, samples) at 16 kHz from ``start_sample`` on; decoding begins at ``second``."""
        header = self.source.header
        resampled = to_model_rate(
            self._native_blocks(second * header.sample_rate_hz),
            sample_rate_hz=header.sample_rate_hz,
            num_channels=header.num_channels,
            num_dropped=start_sample - second * MODEL_RATE_HZ,
        )
        end_sample = start_sample
        for block in resampled:
            if not block.shape[1]:
                self._on_progress()
                continue
            end_sample += block.shape[1]
            if end_sample > self._limits.max_duration_s * MODEL_RATE_HZ:
                raise self._too_long()
            yield block
        if start_sample == 0:
            self._check_length(end_sample)
        self.outcome = self._outcome_of(end_sample)

    def close(self) -> None:
        """Give up the file handles of a stream that is not read to its end."""
        if self._open_iterator is not None and hasattr(self._open_iterator, "close"):
            self._open_iterator.close()

    def _first_source(self) -> Source:
        kind = kind_of(self._path)
        reasons = []
        is_unknown_codec = False
        # MP3 goes to FFmpeg first: libsndfile stops at damage, at a change of format and at the end of the first part
        # of joined files, without a word, and it counts samples differently after a seek across damage. So does Opus,
        # which libsndfile decodes at a quarter of the speed.
        av_first = kind in ("mp3", "adts", "mp4", "matroska", "opus")
        for library in ("av", "soundfile") if av_first else ("soundfile", "av"):
            try:
                if library == "soundfile":
                    return SoundfileSource(self._path)
                return AvSource(self._path, self._on_progress)
            except Unreadable as reason:
                reasons.append(str(reason))
                is_unknown_codec |= isinstance(reason, UnknownCodec)
            except LookupError as error:
                raise BadRecording("NO_AUDIO", f"The {error} container holds no audio stream.") from error
            except EOFError as error:
                raise BadRecording("EMPTY", f"The file holds no samples ({error}).") from error
        if kind is None:
            raise BadRecording("UNSUPPORTED", f"The bytes are of no known audio format ({'; '.join(reasons)}).")
        if is_unknown_codec:
            raise BadRecording("UNSUPPORTED", f"The {kind} file holds a codec unknown here ({'; '.join(reasons)}).")
        lost = missing_end(self._path)
        if lost is not None:
            raise BadRecording("TRUNCATED", f"The {kind} file is cut and nothing decodes: {lost}.")
        raise BadRecording("CORRUPT", f"The file begins like {kind}, but nothing decodes ({'; '.join(reasons)}).")

    def _check_header(self) -> None:
        header, limits = self.source.header, self._limits
        if header.num_channels > limits.max_channels:
            raise BadRecording(
                "REFUSED", f"The header declares {header.num_channels} channels; the limit is {limits.max_channels}."
            )
        if not limits.min_sample_rate_hz <= header.sample_rate_hz <= limits.max_sample_rate_hz:
            raise BadRecording(
                "UNSUPPORTED",
                f"The header declares {header.sample_rate_hz} samples per second; recordings have between "
                f"{limits.min_sample_rate_hz} and {limits.max_sample_rate_hz}.",
            )

    def _promised_s(self) -> float | None:
        """Length by the header. Raises TOO_LONG beyond the limit, unless the size of the file belies it."""
        header = self.source.header
        if header.num_frames is None:
            return None
        promised_s = header.num_frames / header.sample_rate_hz
        num_bits = 8 * os.path.getsize(self._path)
        if promised_s > self._limits.max_duration_s and num_bits >= promised_s * MIN_BITS_PER_S:
            raise self._too_long()
        return promised_s

    def _native_blocks(self, start_frame: int) -> Iterator[NDArray[np.float32]]:
        position = start_frame
        try:
            for block in self._read(self.source, position):
                position += len(block)
                yield block
        except Unreadable as reason:
            other = self._second_source(reason, at_frame=position)
            if other is not None:
                self.source = other
                try:
                    yield from self._read(other, position)
                except Unreadable as end:
                    other.damage = other.damage or str(end)

    def _read(self, source: Source, start_frame: int) -> Iterator[NDArray[np.float32]]:
        self._open_iterator = source.read_from(start_frame)
        for block in self._open_iterator:
            if not np.isfinite(block).all():
                raise BadRecording("NON_FINITE", "The recording holds samples that are not numbers (NaN or infinite).")
            yield block

    def _second_source(self, reason: Unreadable, *, at_frame: int) -> Source | None:
        """The decoder that goes on where libsndfile gave up; None when it cannot."""
        known = self.source.header
        try:
            other = AvSource(self._path, self._on_progress)
        except (Unreadable, LookupError, EOFError) as error:
            if at_frame == 0:
                raise BadRecording("CORRUPT", f"Nothing decodes ({reason}; {error}).") from error
            self.source.damage = str(reason)
            return None
        is_same = (other.header.sample_rate_hz, other.header.num_channels) == (known.sample_rate_hz, known.num_channels)
        if not is_same:
            self.source.damage = str(reason)
            return None
        other.header = known
        return other

    def _check_length(self, end_sample: int) -> None:
        if end_sample == 0:
            if self.source.damage is not None:
                raise BadRecording("CORRUPT", f"Nothing decodes ({self.source.damage}).")
            raise BadRecording("EMPTY", "The file has a header and no samples.")
        if end_sample < self._limits.min_duration_s * MODEL_RATE_HZ:
            raise BadRecording(
                "TOO_SHORT",
                f"The recording lasts {1000 * end_sample / MODEL_RATE_HZ:.3g} ms; scoring needs at least "
                f"{1000 * self._limits.min_duration_s:.0f} ms.",
            )

    def _outcome_of(self, end_sample: int) -> DecodeOutcome:
        decoded_s = end_sample / MODEL_RATE_HZ
        missing_s = 0.0 if self.promised_s is None else self.promised_s - decoded_s
        of_promised = "" if self.promised_s is None else f" of {self.promised_s:.2f} s"
        flaw: Flaw | None = None
        message = None
        lost_inside = self.source.num_damaged
        if lost_inside and (lost_inside >= MIN_DAMAGED_PACKETS or missing_s > TOLERATED_LOSS_S):
            flaw, message = (
                "CORRUPT",
                f"Damaged inside ({self.source.damage}); {decoded_s:.2f} s{of_promised} came out.",
            )
        elif missing_s > TOLERATED_LOSS_S or self.source.missing_end is not None:
            why = self.source.missing_end or self.source.damage or "the file ends early"
            flaw, message = "TRUNCATED", f"Only {decoded_s:.2f} s{of_promised} came out: {why}."
        return DecodeOutcome(end_sample=end_sample, flaw=flaw, message=message)

    def _too_long(self) -> BadRecording:
        limit_h = self._limits.max_duration_s / 3600
        return BadRecording("TOO_LONG", f"The recording is longer than the limit of {limit_h:g} hours.")
