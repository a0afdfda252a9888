"""An MP3 that FFmpeg does not guess about.

Where the header frame of an MP3 is called Info, FFmpeg takes the bit rate for constant and computes where a time lies;
in joined or edited files that is elsewhere. Called Xing, it walks through the packets, in C, and is exact.
"""

from typing import BinaryIO

from emosphere.audio.decoding.container_facts import after_id3


class Mp3File:
    """What FFmpeg needs of a file, with the name of the header frame changed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        start = after_id3(file)
        file.seek(start)
        at = file.read(256).find(b"Info")
        self._name_at = None if at < 0 else start + at
        file.seek(0)

    def read(self, num_bytes: int) -> bytes:
        start = self._file.tell()
        content = self._file.read(num_bytes)
        if self._name_at is None or not start <= self._name_at <= start + len(content) - 4:
            return content
        at = self._name_at - start
        return content[:at] + b"Xing" + content[at + 4 :]

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
