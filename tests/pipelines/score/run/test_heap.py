"""What a process keeps of freed memory, and that it can be handed back."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("words", "apart_mib", "returned_mib"), [([], 24, 0), (["keep"], 0, 24)])
def test_freed_memory_is_kept_until_it_is_given_back(
    root: Path, words: list[str], apart_mib: int, returned_mib: int
) -> None:
    """By itself the C library asks the system for every large block, and returns it: each page is cleared anew."""
    command = [sys.executable, "-m", "tests.pipelines.score.run.freed_memory", *words]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    apart, returned = map(int, output.split())
    assert apart == apart_mib
    assert returned == pytest.approx(returned_mib, abs=4)
