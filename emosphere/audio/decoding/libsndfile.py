"""Decoding by libsndfile, exact to the sample for WAV, AIFF, FLAC, Ogg Vorbis and Opus, SPHERE, AU, CAF and W64."""

import os
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import NativeHeader, Unreadable
from emosphere.audio.decoding.container_facts import missing_end, wav_promised_frames

BLOCK_S = 5
MAX_BLOCK_VALUES = 4_000_000
"""Samples times channels in one block: 16 MB, whatever the header says about rate and channels."""

_CODECS = {
    "PCM_U8": "pcm_u8",
    "PCM_S8": "pcm_s8",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
    "VORBIS": "vorbis",
    "OPUS": "opus",
    "MPEG_LAYER_I": "mp1",
    "MPEG_LAYER_II": "mp2",
    "MPEG_LAYER_III": "mp3",
    "IMA_ADPCM": "adpcm_ima",
    "MS_ADPCM": "adpcm_ms",
    "GSM610": "gsm",
}
_PCM_CODECS = {"PCM_16": "s16", "PCM_24": "s24", "PCM_32": "s32", "FLOAT": "f32", "DOUBLE": "f64"}
_BIG_ENDIAN_FORMATS = {"AIFF", "AU", "CAF", "NIST"}


class SoundfileSource:
    """One recording read by libsndfile."""

    def __init__(self, path: str) -> None:
        """Read the header. Raises Unreadable when libsndfile does not know these bytes."""
        self._path = path
        with self._open() as file:
            container, subtype, frames = file.format, file.subtype, file.frames
            self.header = NativeHeader(
                codec=_codec(container, subtype, file.endian),
                sample_rate_hz=file.samplerate,
                num_channels=file.channels,
                # libsndfile shortens a WAV header to what the file can hold; the chunk still tells what was meant.
                num_frames=max(frames, wav_promised_frames(path) or 0),
            )
        self._num_readable = frames
        self.damage: str | None = None
        self.num_damaged = 0
        self.missing_end = missing_end(path)

    def read_from(self, start_frame: int) -> Iterator[NDArray[np.float32]]:
        """Blocks (samples, channels), the first beginning at ``start_frame`` exactly.

        Raises Unreadable at the first damage: all before it has been handed out.
        """
        position = min(start_frame, self._num_readable)
        block_frames = max(1, min(BLOCK_S * self.header.sample_rate_hz, MAX_BLOCK_VALUES // self.header.num_channels))
        with self._open() as file:
            try:
                if position:
                    file.seek(position)
                while position < self._num_readable:
                    block = file.read(min(block_frames, self._num_readable - position), dtype="float32", always_2d=True)
                    if not len(block):
                        raise Unreadable(f"libsndfile stopped at sample {position} of {self._num_readable}")
                    position += len(block)
                    yield block
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise Unreadable(f"libsndfile: {error}") from error

    def _open(self) -> soundfile.SoundFile:
        # By descriptor, so that neither the extension nor undecodable bytes in the name matter.
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            return soundfile.SoundFile(descriptor, closefd=True)
        except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
            # libsndfile closes the descriptor itself when it fails to open it.
            raise Unreadable(f"libsndfile: {error}") from error


def _codec(container: str, subtype: str, endian: str) -> str:
    if container == "FLAC":
        return "flac"
    if subtype in _PCM_CODECS:
        is_big = endian == "BIG" or (endian == "FILE" and container in _BIG_ENDIAN_FORMATS)
        return f"pcm_{_PCM_CODECS[subtype]}{'be' if is_big else 'le'}"
    return _CODECS.get(subtype, subtype.lower())
