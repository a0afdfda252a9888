"""The C library's heap in a process that makes and drops large tensors all day."""

import contextlib
import ctypes
from typing import Final

_ELSEWHERE: Final = contextlib.suppress(OSError, AttributeError)
"""Another C library has other ways."""
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
MAPPED_BYTES: Final = 32 << 20
"""Blocks from here on get memory of their own from the system; glibc allows no higher bound."""
KEPT_BYTES: Final = 256 << 20
"""So much may lie free at the heap's end before it goes back to the system."""


def share_one_heap() -> None:
    """Let all threads of this process share one heap, as ``MALLOC_ARENA_MAX=1`` does from without: an actor in it then
    takes 1.1 GB at most instead of 1.3 (measured over three hours of audio).

    For a process without threads: once one of them has a heap of its own, the C library holds to its own number.
    """
    with _ELSEWHERE:
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 1)


def keep_freed_memory() -> None:
    """From now on, give freed memory to the next tensor instead of the system, which would clear every page anew.

    It saves a tenth of the bundled network's time (docs/benchmarks.md). What
    :func:`give_back` returns is the heap that all threads share, so ``MALLOC_ARENA_MAX=1`` belongs to it: set for a
    local Ray and in the image; in the command's own process :func:`share_one_heap` stands for it.
    """
    with _ELSEWHERE:
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back() -> None:
    """Hand freed memory back to the system: batches of ever new lengths leave the heap full of holes, which grew the
    actor by 30 MB with every quarter of an hour of audio (measured over 10 h; with this it stays level).
    """
    with _ELSEWHERE:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
