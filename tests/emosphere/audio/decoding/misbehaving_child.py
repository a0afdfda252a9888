"""A decoder child that dies, hangs, grows or chatters over a file whose name begins so, and decodes all others.

Run by :class:`IsolatedDecoder` in place of ``child_main``, which it is, but for what opens a recording.
"""

import ctypes
import os
import time
from collections.abc import Callable

import numpy as np

from emosphere.audio.decoding import child_main, decode
from emosphere.audio.decoding.decode import DecodedStream, DecodeLimits

open_recording = decode.open_recording


def open_badly(path: str, *, start_s: float, limits: DecodeLimits, on_progress: Callable[[], None]) -> DecodedStream:
    name = os.path.basename(path)
    if name.startswith("chatter"):
        os.write(1, b"noise\n" * 1000)
    if name.startswith(("die", "chatter-and-die")):
        ctypes.string_at(0)
    while name.startswith("spin"):
        pass
    while name.startswith("trickle"):
        on_progress()
        time.sleep(0.05)
    hoard = []
    while name.startswith("grow"):
        hoard.append(np.ones(10_000_000))
    return open_recording(path, start_s=start_s, limits=limits, on_progress=on_progress)


if __name__ == "__main__":
    decode.open_recording = open_badly
    child_main.main()
