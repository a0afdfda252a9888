"""Scales as people write them, labels as cells hold them."""

from pathlib import Path

import pytest

from emosphere.clips.rows import CENTRED, Scale, csv_rows, label_of, parse_scale
from emosphere.errors import UsageError
from emosphere.store import locate


def test_known_points_of_known_scales() -> None:
    assert [parse_scale("1..7").centred(y) for y in (1, 4, 5.5, 7)] == [-1, 0, 0.5, 1]
    assert [Scale(0, 1).centred(y) for y in (0, 0.25, 1)] == [-1, -0.5, 1]
    assert parse_scale(" -1 .. 1 ") == CENTRED


def test_what_is_centred_already_keeps_every_bit() -> None:
    assert CENTRED.centred(-0.51 * 0.75) == -0.51 * 0.75


@pytest.mark.parametrize("text", ["7..1", "1-7", "", "1..", "0..0"])
def test_another_way_to_write_a_scale_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not LOW\.\.HIGH"):
        parse_scale(text)


def test_an_empty_cell_is_unrated_and_no_number_is_an_error() -> None:
    assert [label_of(value) for value in (None, " ", "4.5", 3)] == [None, None, 4.5, 3]
    for value in ("nan", float("inf")):
        with pytest.raises(ValueError, match="not finite"):
            label_of(value)
    with pytest.raises(ValueError, match="'high', which is not a number"):
        label_of("high")


def test_a_cell_that_never_ends_is_refused_by_row(tmp_path: Path) -> None:
    """One forgotten quotation mark takes the rest of a large file for a cell."""
    path = tmp_path / "labels.csv"
    path.write_text("file,valence\na.wav,1\n" + 'b.wav,"2\n' + "c.wav,3\n" * 20_000)
    with pytest.raises(UsageError, match=r"row 1 cannot be read as CSV \(field larger than"):
        list(csv_rows(locate(str(path))))
