"""Decoding by FFmpeg's libraries through PyAV, for MP3 and all that libsndfile does not read."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import NativeHeader, UnknownCodec, Unreadable
from emosphere.audio.decoding.aac_noise import ENDLESS_MEMORY, RenewedDecoder, decode_start_s
from emosphere.audio.decoding.container_facts import kind_of, missing_end, mp3_promised_frames
from emosphere.audio.decoding.mp3_file import Mp3File
from emosphere.audio.decoding.timeline import Blocks, Timeline

BLOCK_S: Final = 5
DECODER_PRE_ROLL_S: Final = 1
"""Decoded and dropped before the first wanted sample: bit reservoir, overlap and filter memory of the codecs."""
MAX_FAILURES_IN_A_ROW: Final = 2_000
"""Packets that fail one after the other before a recording is given up."""

# No playlists, no image sequences, no raw formats that any bytes would fit.
_CONTAINERS: Final = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpc,mpc8,mpeg,mpegts,mpegtsraw,nistsphere,ogg,qcp,rm,shn,tak,tta,voc,w64,wav,wv,xwma"
)
# Where time stamps are sample numbers, a seek is exact: by the index of MP4, elsewhere by counting packets.
_SEEKABLE: Final = frozenset({"mov", "mp3", "aac", "ac3", "eac3", "amr"})
# Where time stamps are stored, a late first stamp is a late beginning. Elsewhere the reader made them up by counting.
_TIMED: Final = frozenset({"mov", "matroska", "mpegts", "mpeg", "flv", "flac"})
# Where the length is stored. Elsewhere FFmpeg divides the file's size by a bit rate.
_SIZED: Final = frozenset(
    {"mov", "matroska", "asf", "flac", "aiff", "caf", "wav", "w64", "ogg", "ape", "tta", "wv", "au"}
)


class AvSource:
    """One recording read by FFmpeg's demuxers and decoders. Of several audio streams FFmpeg's choice is taken."""

    def __init__(self, path: str, on_progress: Callable[[], None]) -> None:
        """Read the header and decode up to the first frame.

        Raises Unreadable when the container is not known, LookupError when it holds no audio stream.
        """
        self._path, self._on_progress = path, on_progress
        self.damage: str | None = None
        self.num_damaged = 0
        self.missing_end = missing_end(path)
        with self._open() as (container, stream):
            self._kind = container.format.name.split(",")[0]
            frames = self._frames(container, stream, stream, skip_before=None)
            first = next((frame for frame in frames if frame is not None), None)
            codec = stream.codec_context.name
            promised_s = _promised_s(container, stream) if self._kind in _SIZED else None
            if first is None:
                if self.damage is None and self.missing_end is None:
                    raise EOFError(f"{self._kind} without samples")
                raise Unreadable(self.missing_end or f"no frame could be decoded: {self.damage}")
            rate = first.rate
            if self._kind == "mp3":
                num_frames = mp3_promised_frames(path)
            else:
                num_frames = None if promised_s is None else round(promised_s * rate)
            self.header = NativeHeader(
                codec={"mp3float": "mp3", "mp2float": "mp2", "libopus": "opus"}.get(codec, codec),
                sample_rate_hz=rate,
                num_channels=first.layout.nb_channels,
                num_frames=num_frames,
            )
            self._time_base = stream.time_base
            self._origin_s = _origin_s(self._kind, container, first)
        self.damage, self.num_damaged = None, 0

    def read_from(self, start_frame: int) -> Iterator[NDArray[np.float32]]:
        """Blocks (samples, channels), the first beginning at ``start_frame`` exactly; empty blocks are signs of life.

        Damaged packets are left out, and silence of their length keeps the time. ``damage`` says what the first one was
        afterwards, ``num_damaged`` how many were followed by sound ones.
        """
        rate = self.header.sample_rate_hz
        blocks = Blocks(self.header, start_frame=start_frame, block_frames=BLOCK_S * rate)
        with self._open() as (container, stream):
            decoder: Any = stream
            decode_from_s = 0
            if self._has_exact_stamps():
                decode_from_s = max(0, start_frame // rate - DECODER_PRE_ROLL_S)
                if stream.codec_context.name in ENDLESS_MEMORY:
                    decode_from_s = decode_start_s(start_frame // rate)
                    decoder = RenewedDecoder(stream, start_s=decode_from_s, origin_s=self._origin_s)
            timeline = Timeline(
                self.header,
                origin_s=self._origin_s,
                is_exact=self._has_exact_stamps(),
                is_from_beginning=decode_from_s == 0,
            )
            skip_before = None
            if decode_from_s:
                skip_before = int((decode_from_s + self._origin_s) / self._time_base)
                if self._kind in _SEEKABLE:
                    # Where the index is broken, the packets before are passed over one by one.
                    with suppress(av.error.FFmpegError):
                        container.seek(skip_before, stream=stream, backward=True)
            for frame in self._frames(container, stream, decoder, skip_before=skip_before):
                if frame is None:
                    yield np.zeros((0, self.header.num_channels), dtype=np.float32)
                    continue
                try:
                    parts = blocks.conform(frame)
                except (av.error.FFmpegError, ValueError) as error:
                    self.damage = self.damage or _reason(error)
                    self.num_damaged += 1
                    continue
                for part in parts:
                    gap = timeline.gap_before(part.time)
                    position = timeline.position or 0
                    if gap:
                        yield from blocks.silence(position=position - gap, num_frames=gap)
                    timeline.advance(part.samples)
                    yield from blocks.add(part, position=position)
            yield from blocks.flush()

    def _has_exact_stamps(self) -> bool:
        # Matroska counts in milliseconds: a decode from the middle would be off by a few samples.
        return bool(self._time_base and 1 / self._time_base >= self.header.sample_rate_hz)

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        # A file object, not a path: FFmpeg sees bytes, no extension, no name it could take for a URL.
        with open(self._path, "rb") as file:
            try:
                content = Mp3File(file) if kind_of(self._path) == "mp3" else file
                container = av.open(content, mode="r", options={"format_whitelist": _CONTAINERS})
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise Unreadable(f"FFmpeg: {_reason(error)}") from error
            with container:
                stream = container.streams.best("audio")
                if stream is None:
                    raise LookupError(container.format.name.split(",")[0])
                if stream.codec_context is None:
                    raise UnknownCodec("FFmpeg has no decoder for its codec")
                stream.codec_context.thread_count = 1
                yield container, stream

    def _frames(self, container: Any, stream: Any, decoder: Any, *, skip_before: int | None) -> Iterator[Any]:
        """Decoded frames; None now and then while packets are skipped."""
        num_in_a_row = num_failed = 0
        packets = container.demux(stream)
        for number in itertools.count():
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError, IndexError) as error:
                # IndexError: PyAV stumbles over streams that turn up late in damaged transport streams.
                self.damage = self.damage or _reason(error)
                return
            if packet is None:
                return
            if number % 10_000 == 0:
                self._on_progress()
                yield None
            if skip_before is not None and packet.pts is not None and packet.pts < skip_before:
                continue
            try:
                frames = decoder.decode(packet)
            except EOFError:
                return
            except (av.error.FFmpegError, ValueError) as error:
                self.damage = self.damage or _reason(error)
                num_in_a_row, num_failed = num_in_a_row + 1, num_failed + 1
                if num_in_a_row >= MAX_FAILURES_IN_A_ROW:
                    return
                continue
            for frame in frames:
                if frame.samples:
                    num_in_a_row = 0
                    self.num_damaged = num_failed
                    yield frame


def _promised_s(container: Any, stream: Any) -> float | None:
    if stream.duration:
        seconds: float = float(stream.duration * stream.time_base)
        return seconds
    if container.duration and len(container.streams) == 1:
        seconds = (container.duration - max(container.start_time or 0, 0)) / 1e6
        return max(0.0, seconds)
    return None


def _origin_s(kind: str, container: Any, first: Any) -> float:
    """The time stamp that is second 0 of the recording."""
    if kind in ("mov", "flac"):
        return 0.0
    if kind in _TIMED:
        return max(container.start_time or 0, 0) / 1e6
    return float(first.pts * first.time_base) if first.pts is not None else 0.0


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
