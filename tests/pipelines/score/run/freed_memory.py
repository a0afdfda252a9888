"""Program: print how many MiB of a large block the system gave apart, and how many it got back after it was freed.

With the word ``keep`` freed memory is kept for the next tensor, as in a scoring actor.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

from pipelines.score.run.heap import give_back, keep_freed_memory

BLOCK_BYTES = 24 << 20
PAGE_BYTES = 4096


class Heap(ctypes.Structure):
    """The struct mallinfo2 of glibc."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (*("arena", "ordblks", "smblks", "hblks", "hblkhd"), *"abcde"))


def mapped_bytes() -> int:
    """Memory of large blocks that the system gave each by itself."""
    library = ctypes.CDLL("libc.so.6")
    library.mallinfo2.restype = Heap
    return int(library.mallinfo2().hblkhd)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def main(is_kept: bool) -> None:
    if is_kept:
        keep_freed_memory()
    before = mapped_bytes()
    block = np.ones(BLOCK_BYTES // 8)
    apart = mapped_bytes() - before
    del block
    held = resident_bytes()
    give_back()
    print(apart >> 20, held - resident_bytes() >> 20)


if __name__ == "__main__":
    main(sys.argv[1:] == ["keep"])
