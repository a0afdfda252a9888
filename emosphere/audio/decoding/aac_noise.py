"""Decoders with a memory without end are replaced by fresh ones on an absolute grid.

AAC and AC-3 decoders fill in noise from a generator that runs on from the first packet. A decode from the middle would
differ from one from the beginning by that noise, about 0.005 of full scale. With a fresh decoder at every full minute,
warmed up on the second before, both agree to rounding.
"""

from typing import Any, Final

import av

PERIOD_S: Final = 60
"""Time between two fresh decoders."""
WARM_UP_S: Final = 1
"""What a fresh decoder decodes before its first frame counts."""

ENDLESS_MEMORY: Final = frozenset({"aac", "aac_latm", "ac3", "eac3"})
"""Codecs whose decoders need this, by FFmpeg's names."""


def decode_start_s(start_s: int) -> int:
    """The second whose packets a decode for ``start_s`` begins with, so that it meets the right decoder.

    >>> decode_start_s(61), decode_start_s(62)
    (0, 59)
    """
    # A frame that lies across the minute still comes from the decoder before it.
    minute = max(0, start_s - 1 - WARM_UP_S) // PERIOD_S
    return max(0, minute * PERIOD_S - WARM_UP_S)


class RenewedDecoder:
    """Decodes the packets of one stream, from a start that :func:`decode_start_s` gave."""

    def __init__(self, stream: Any, *, start_s: int, origin_s: float) -> None:
        self._stream, self._origin_s = stream, origin_s
        self._current: Any = stream.codec_context
        self._next: Any = None
        self._border_s = ((start_s + WARM_UP_S) // PERIOD_S + 1) * PERIOD_S

    def decode(self, packet: Any) -> list[Any]:
        """Frames of ``packet``; raises what FFmpeg raises, once the other decoder has had the packet too."""
        at_s = None if packet.pts is None else float(packet.pts * packet.time_base) - self._origin_s
        if at_s is not None and at_s >= self._border_s + WARM_UP_S and self._next is not None:
            self._current, self._next = self._next, None
            self._border_s += PERIOD_S
        if at_s is not None and at_s >= self._border_s - WARM_UP_S and self._next is None:
            self._next = self._fresh()
        if self._next is None:
            return list(self._current.decode(packet))
        later: list[Any] = []
        try:
            frames = [frame for frame in self._current.decode(packet) if self._time_s(frame) < self._border_s]
        finally:
            later = self._decode_next(packet)
        return frames + later

    def _decode_next(self, packet: Any) -> list[Any]:
        try:
            return [frame for frame in self._next.decode(packet) if self._time_s(frame) >= self._border_s]
        except av.error.FFmpegError:
            # The decoder in charge says so too, where it matters.
            return []

    def _fresh(self) -> Any:
        context = av.CodecContext.create(self._stream.codec_context.name, "r")
        if self._stream.codec_context.extradata:
            context.extradata = self._stream.codec_context.extradata
        context.thread_count = 1
        return context

    def _time_s(self, frame: Any) -> float:
        return float("-inf") if frame.pts is None else float(frame.pts * frame.time_base) - self._origin_s
