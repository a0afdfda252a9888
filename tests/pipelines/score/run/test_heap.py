"""What a process keeps of freed memory, and that it can be handed back."""

import subprocess
import sys

import pytest

COUNTED = """
import ctypes, numpy
from pathlib import Path
from pipelines.score.run.heap import give_back, keep_freed_memory

class Heap(ctypes.Structure):  # glibc's struct mallinfo2
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d keepcost".split()]

library = ctypes.CDLL("libc.so.6")
library.mallinfo2.restype = Heap
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

{keep}
before = library.mallinfo2().hblkhd
block = numpy.ones(3 * 2**20)  # 24 MiB
apart = library.mallinfo2().hblkhd - before >> 20
del block
held = resident()
give_back()
print(apart, held - resident())
"""


@pytest.mark.parametrize(("keep", "apart_mib", "returned_mib"), [("", 24, 0), ("keep_freed_memory()", 0, 24)])
def test_freed_memory_stays_for_the_next_tensor_until_it_is_given_back(
    keep: str, apart_mib: int, returned_mib: int
) -> None:
    """By itself the C library asks the system for every large block, and returns it: each page is cleared anew."""
    said = subprocess.run(
        [sys.executable, "-c", COUNTED.format(keep=keep)], capture_output=True, text=True, check=True
    ).stdout
    apart, returned = map(int, said.split())
    assert apart == apart_mib
    assert returned == pytest.approx(returned_mib, abs=4)
