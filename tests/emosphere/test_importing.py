"""What is not imported costs nothing, and the rest comes in without garbage collections."""

import gc
import subprocess
import sys

import pytest

from emosphere.importing import without_collector


def test_the_collector_rests_meanwhile_and_works_again_after():
    assert gc.isenabled()
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_works_again_after_a_failed_import():
    with pytest.raises(ImportError), without_collector():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_rests_already_is_left_alone():
    gc.disable()
    try:
        with without_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("package", ["pandas", "torchaudio", "transformers", "silero_vad", "cryptography"])
def test_the_bundled_model_needs_none_of(root, package):
    program = f"import sys, emosphere.inference as it; it.load(); print({package!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
