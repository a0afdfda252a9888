"""Spoilt files end as rows with a reason, in bounded time.

The short form: `make fuzz` takes thousands through the command.
"""

from collections import Counter
from pathlib import Path

from emosphere.audio.decode import DecodeLimits
from emosphere.audio.isolation import IsolatedDecoder
from emosphere.errors import ERROR_CODES, BadRecording
from tests.fuzz.mutate import sources, spoilt

COUNT = 150


def test_every_spoilt_file_decodes_or_says_why_not(shared_data: Path, tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    with IsolatedDecoder(DecodeLimits(stall_timeout_s=20.0)) as decoder:
        for name, data in spoilt(sources(shared_data), COUNT, seed=7):
            (tmp_path / "file").write_bytes(data)
            try:
                stream = decoder.open(str(tmp_path / "file"))
                num_samples = sum(block.shape[1] for block in stream)
            except BadRecording as error:
                found[error.code] += 1
            else:
                assert stream.outcome is not None, name
                found["some sound" if num_samples else "no sound"] += 1
    assert set(found) - {"some sound", "no sound"} <= set(ERROR_CODES) - {"TIMED_OUT", "INTERNAL"}, found
    # Else the mutations would be too mild or too wild to try anything.
    assert found["some sound"] > COUNT / 10
    assert len(found) >= 3


def test_spoilt_files_are_the_same_for_the_same_seed(shared_data: Path) -> None:
    one, two = (list(spoilt(sources(shared_data), 5, seed=3)) for _ in range(2))
    assert one == two
    assert one != list(spoilt(sources(shared_data), 5, seed=4))
