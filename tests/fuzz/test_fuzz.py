"""Spoilt files end as rows with a reason, in bounded time.

The short form: `make fuzz` takes thousands through the command.
"""

from pathlib import Path

import pytest

from tests.fuzz.mutate import made, sources, spoilt
from tests.fuzz.property import search


def test_every_spoilt_file_decodes_or_says_why_not(shared_data: Path, tmp_path: Path) -> None:
    found = search([*sources(shared_data), *made(tmp_path)], seconds=0.0, seed=7)
    # Else the mutations would be too mild or too wild to try anything.
    assert found["some sound"] > found.total() / 10
    assert len(found) >= 3


def test_an_outcome_without_a_reason_is_found_and_made_small(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(bytes(1000))

    def hangs_where_something_is_missing(path: Path) -> str:
        return "TIMED_OUT" if path.stat().st_size < 1000 else "no sound"

    with pytest.raises(AssertionError, match=r"a\.wav after \[\('cut', \d+\)\]: TIMED_OUT"):
        search([tmp_path / "a.wav"], seconds=0.0, decode=hangs_where_something_is_missing)


def test_spoilt_files_are_the_same_for_the_same_seed(shared_data: Path) -> None:
    one, two = (list(spoilt(sources(shared_data), 5, seed=3)) for _ in range(2))
    assert one == two
    assert one != list(spoilt(sources(shared_data), 5, seed=4))
