"""A decoding: the limits it is held to, the header that promises, the outcome known once all is out."""

from dataclasses import dataclass
from typing import Final, Literal

MODEL_RATE_HZ: Final = 16_000
"""Rate of all decoded audio; sample indices without another rate in their name count at this one."""
SMALLEST_MEMORY_BYTES: Final = 320 << 20
"""Address space that Python, NumPy, libsndfile and FFmpeg need to be loaded, with what the allocator reserves."""
LONGEST_WAIT_S: Final = 2_000_000.0
"""The system counts a wait in milliseconds of 31 bits."""
SAMPLES_PER_MS: Final = MODEL_RATE_HZ // 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeLimits:
    """What a recording may ask of the machine."""

    max_duration_s: float = 24 * 3600.0
    """Longer recordings are TOO_LONG: hardly a recording of one event, and a day of scoring."""
    min_duration_s: float = 0.05
    """Shorter recordings are TOO_SHORT: no syllable fits."""
    max_channels: int = 64
    """More channels are REFUSED; the largest microphone arrays in use have about as many."""
    min_sample_rate_hz: int = 2_000
    """Lower rates are UNSUPPORTED: nothing of a voice but its pitch would be left."""
    max_sample_rate_hz: int = 768_000
    """Higher rates are UNSUPPORTED: no recorder has one, the header is wrong."""
    max_memory_bytes: int = 2 * 1024**3
    """Address space of the isolated decoder; a recording that needs more is REFUSED."""
    stall_timeout_s: float = 60.0
    """An isolated decoder silent for this long is stopped and its recording TIMED_OUT."""
    max_wait_s: float = 3600.0
    """An isolated decoder for which one recording has been waited this long in all is stopped too: one that gives a
    sign of life now and then could go on for ever. A day of audio takes about ten minutes."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_duration_s < self.max_duration_s:
            raise ValueError(
                f"min_duration_s={self.min_duration_s} must be below max_duration_s={self.max_duration_s}."
            )
        if self.max_channels < 1:
            raise ValueError(f"max_channels={self.max_channels} must be at least 1.")
        if not 0 < self.min_sample_rate_hz < self.max_sample_rate_hz:
            raise ValueError(
                f"min_sample_rate_hz={self.min_sample_rate_hz} must be below "
                f"max_sample_rate_hz={self.max_sample_rate_hz}."
            )
        if 0 <= self.max_memory_bytes < SMALLEST_MEMORY_BYTES:
            raise ValueError(
                f"max_memory_bytes={self.max_memory_bytes} must be at least {SMALLEST_MEMORY_BYTES}: a decoder takes "
                "that much before it has read anything."
            )
        for name in ("stall_timeout_s", "max_wait_s"):
            if not 0 < (seconds := getattr(self, name)) <= LONGEST_WAIT_S:
                raise ValueError(f"{name}={seconds} must be above 0 and at most {LONGEST_WAIT_S:.0f} (23 days).")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingHeader:
    """What a recording says about itself."""

    codec: str
    """Lower-case short name such as ``pcm_s16le``, ``pcm_mulaw``, ``mp3``, ``flac``, ``vorbis``, ``opus``, ``aac``."""
    sample_rate_hz: int
    """Rate the decoder delivers, before resampling."""
    num_channels: int
    duration_ms: int | None
    """Length the header promises; None where it promises nothing. What decodes may be shorter, now and then longer."""


Flaw = Literal["TRUNCATED", "CORRUPT"]
"""Why less came out than was promised: the end is missing, or something inside is damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeOutcome:
    """How decoding went, known once the last block is out."""

    end_sample: int
    """One past the last sample of the recording, at 16 kHz from its beginning."""
    flaw: Flaw | None = None
    message: str | None = None
    """One sentence about the flaw; None without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeHeader:
    """A recording's header as one decoder reads it, in samples of the recording's own rate."""

    codec: str
    sample_rate_hz: int
    num_channels: int
    num_frames: int | None
    """Promised length in samples per channel; None where nothing is promised."""


class Unreadable(Exception):
    """One decoder cannot go on with these bytes; another one may."""


class UnknownCodec(Unreadable):
    """The container is sound, but nobody here decodes what it holds."""
