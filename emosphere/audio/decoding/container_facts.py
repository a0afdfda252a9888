"""What a file's own structure promises, read from its bytes: kind, length, and whether its end is there."""

import os
from typing import BinaryIO, Final

_MAGIC: Final = (
    (b"RIFF", 0, "wav"),
    (b"RIFX", 0, "wav"),
    (b"RF64", 0, "wav"),
    (b"FORM", 0, "aiff"),
    (b"fLaC", 0, "flac"),
    (b"OggS", 0, "ogg"),
    (b"ID3", 0, "mp3"),
    (b"ftyp", 4, "mp4"),
    (b"moov", 4, "mp4"),
    (b"mdat", 4, "mp4"),
    (b"\x1a\x45\xdf\xa3", 0, "matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, "asf"),
    (b"#!AMR", 0, "amr"),
    (b"NIST_1A", 0, "sphere"),
    (b".snd", 0, "au"),
    (b"caff", 0, "caf"),
    (b"wvPk", 0, "wavpack"),
    (b"MPCK", 0, "musepack"),
    (b"MP+", 0, "musepack"),
    (b"MAC ", 0, "ape"),
    (b"\x0b\x77", 0, "ac3"),
    (b"FLV", 0, "flv"),
)
_UNSET_SIZE: Final = 0x7FFF_F000
"""WAV writers that do not know the length leave a size near 2 or 4 GiB: no promise. Longer files use RF64."""


def kind_of(path: str) -> str | None:
    """Which kind of audio file the first bytes announce; None when they announce none. Extensions are not asked."""
    with open(path, "rb") as file:
        head = file.read(64)
    if head[:4] == b"OggS" and b"OpusHead" in head:
        return "opus"
    for magic, offset, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # The layer bits tell ADTS (0) from MPEG audio (1 to 3).
        return "mp3" if head[1] & 0x06 else "adts"
    return None


def wav_promised_frames(path: str) -> int | None:
    """Samples per channel that a little-endian WAV's data chunk declares, as far as it is a declaration."""
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        bytes_per_frame = 0
        while len(chunk := file.read(8)) == 8:
            name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
            if name == b"fmt " and size >= 16:
                bytes_per_frame = int.from_bytes(file.read(16)[12:14], "little")
                file.seek(size - 16 + size % 2, os.SEEK_CUR)
            elif name == b"data":
                is_declared = bytes_per_frame > 0 and size < _UNSET_SIZE
                if is_declared:
                    return size // bytes_per_frame
                return None
            else:
                file.seek(size + size % 2, os.SEEK_CUR)
    return None


def mp3_promised_frames(path: str) -> int | None:
    """Samples per channel by the Xing or Info header of an MP3, less the encoder's padding; None without such a header.

    A header that covers clearly fewer bytes than the file holds speaks of the first part of a concatenation only.
    """
    size_bytes = os.path.getsize(path)
    with open(path, "rb") as file:
        offset = after_id3(file)
        file.seek(offset)
        head = file.read(2048)
    for name in (b"Xing", b"Info"):
        at = head.find(name)
        if at < 0 or len(head) < at + 144:
            continue
        flags, num_packets, num_bytes = (int.from_bytes(head[at + i : at + i + 4], "big") for i in (4, 8, 12))
        if not flags & 1 or not num_packets:
            return None
        if flags & 2 and num_bytes < 0.98 * (size_bytes - offset):
            return None
        # Bit 3 of the second byte tells MPEG-1 (1152 samples in a packet) from MPEG-2 and 2.5 (576).
        start = head.rfind(b"\xff", 0, at)
        while start > 0 and head[start + 1] & 0xE0 != 0xE0:
            start = head.rfind(b"\xff", 0, start)
        samples_per_packet = 1152 if head[start + 1] & 0x08 else 576
        tag = head[at + 120 : at + 144]
        padding = 0
        if tag[:4] in (b"LAME", b"Lavf", b"Lavc"):
            delay_and_padding = int.from_bytes(tag[21:24], "big")
            padding = (delay_and_padding >> 12) + (delay_and_padding & 0xFFF)
        return max(0, num_packets * samples_per_packet - padding)
    return None


def missing_end(path: str) -> str | None:
    """A sentence on why the end of the file must be missing, from its structure; None where nothing tells."""
    kind = kind_of(path)
    with open(path, "rb") as file:
        if kind == "mp4":
            return _mp4_missing_end(file)
        if kind in ("ogg", "opus"):
            return _ogg_missing_end(file)
    return None


def _mp4_missing_end(file: BinaryIO) -> str | None:
    file_bytes = file.seek(0, os.SEEK_END)
    offset = 0
    while offset + 8 <= file_bytes:
        file.seek(offset)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:
            return None
        if size < 8:
            return None
        if offset + size > file_bytes:
            name = head[4:8].decode("latin-1")
            return f"the '{name}' box reaches {offset + size - file_bytes} bytes beyond the end of the file"
        offset += size
    return None


def _ogg_missing_end(file: BinaryIO) -> str | None:
    file_bytes = file.seek(0, os.SEEK_END)
    # A page is at most 65,307 bytes, so the last one begins within the last 64 KiB.
    file.seek(max(0, file_bytes - 65_536))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return "no whole page at the end of the Ogg stream"
    sizes = tail[at + 27 : at + 27 + tail[at + 26]]
    if at + 27 + tail[at + 26] + sum(sizes) > len(tail):
        return "the last Ogg page is cut"
    if not tail[at + 5] & 0x04:
        return "the Ogg stream has no last page"
    return None


def after_id3(file: BinaryIO) -> int:
    """Where the audio begins, behind any ID3v2 tags."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return offset
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        offset += 10 + size + (10 if head[5] & 0x10 else 0)
