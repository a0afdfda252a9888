"""Sound files spoilt at random, but the same for the same seed: flipped, cut, spliced, with headers that lie."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile

MAX_BYTES = 200_000
"""Longest file kept, so that thousands are decoded in minutes."""
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000)
HEADER_BYTES = 256


def sources(shared_data: Path) -> list[Path]:
    """Real recordings in many containers, sound and broken ones."""
    folders = (shared_data / "longform", shared_data / "broken")
    found = [path for folder in folders for path in sorted(folder.iterdir())]
    return [path for path in found if path.suffix not in (".csv", ".rttm", ".txt") and path.stat().st_size]


def made(folder: Path) -> list[Path]:
    """A second of sound in further containers, written here."""
    tone = (0.2 * np.sin(np.arange(16_000) * 0.1)).astype(np.float32)
    for ending, kind in (("au", "AU"), ("caf", "CAF"), ("w64", "W64"), ("aiff", "AIFF"), ("rf64", "RF64")):
        soundfile.write(folder / f"tone.{ending}", tone, 16_000, format=kind)
    for ending, container, codec in (("ts", "mpegts", "aac"), ("avi", "avi", "mp3"), ("mkv", "matroska", "pcm_s16le"),
                                     ("m4a", "ipod", "aac"), ("webm", "webm", "libopus")):  # fmt: skip
        with av.open(str(folder / f"tone.{ending}"), "w", format=container) as output:
            stream = output.add_stream(codec, rate=48_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.repeat(tone, 3)[None], format="fltp", layout="mono")
            frame.sample_rate = 48_000
            resampler = av.AudioResampler(stream.format, "mono", 48_000, frame_size=stream.frame_size or 1024)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
    return sorted(folder.glob("tone.*"))


def spoilt(paths: list[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """``count`` names and contents; each depends on (seed, its number) alone."""
    for number in range(count):
        dice = random.Random(seed * 1_000_003 + number)
        path = dice.choice(paths)
        data = bytearray(path.read_bytes()[:MAX_BYTES])
        kinds = dice.choices(KINDS, k=dice.choice([1, 1, 2, 4]))
        for kind in kinds:
            kind(data, dice, paths)
        yield f"{number:05d}-{'-'.join(kind.__name__ for kind in kinds)}-{path.name}", bytes(data)


def flip(data: bytearray, dice: random.Random, paths: list[Path]) -> None:
    """Bits here and there, or near the start."""
    reach = min(dice.choice([64, HEADER_BYTES, len(data)]), len(data))
    for _ in range(dice.choice([1, 4, 30]) if reach else 0):
        data[dice.randrange(reach)] ^= 1 << dice.randrange(8)


def cut(data: bytearray, dice: random.Random, paths: list[Path]) -> None:
    """A stretch missing: at the end, at the start or inside."""
    start = dice.randrange(len(data) + 1)
    end = dice.choice([len(data), min(start + dice.choice([1, 100, 5000]), len(data))])
    del data[dice.choice([start, 0]) : end]


def splice(data: bytearray, dice: random.Random, paths: list[Path]) -> None:
    """The head of another file in front of this one's body."""
    other = dice.choice(paths).read_bytes()[: dice.choice([16, 64, 1024])]
    data[: len(other)] = other


def lie(data: bytearray, dice: random.Random, paths: list[Path]) -> None:
    """A number of the header set to an extreme: sizes, rates, channels, lengths."""
    for _ in range(dice.choice([1, 2, 5])):
        form = dice.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
        size = struct.calcsize(form)
        reach = min(HEADER_BYTES, len(data)) - size
        if reach > 0:
            at, value = dice.randrange(reach), dice.choice(EXTREMES)
            data[at : at + size] = struct.pack(form, value % (1 << 8 * size))


def repeat(data: bytearray, dice: random.Random, paths: list[Path]) -> None:
    """A stretch twice, so that all that follows is out of place."""
    start = dice.randrange(len(data) + 1)
    stretch = data[start : start + dice.choice([1, 50, 3000])]
    data[start:start] = stretch


def blank(data: bytearray, dice: random.Random, paths: list[Path]) -> None:
    """A stretch of zeros or ones, as a bad sector leaves it."""
    start = dice.randrange(len(data) + 1)
    length = min(dice.choice([10, 512, 20_000]), len(data) - start)
    data[start : start + length] = bytes([dice.choice([0, 255])]) * length


KINDS = [flip, cut, splice, lie, repeat, blank]
