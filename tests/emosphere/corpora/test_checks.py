"""Refused or listed, never guessed."""

import csv
import io
from typing import Any

import pytest

from emosphere.clips.rows import Corpus, DroppedClip, Scale
from emosphere.corpora.checks import (
    centred_rows,
    check_any_left,
    check_audio,
    check_speakers,
    count_reasons,
    dropped_csv,
)
from emosphere.errors import UsageError


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "uri": f"{number}.wav", "start_ms": 0, "valence": "4", "arousal": "1", "dominance": "7", "category": None,
        "speaker": "s", "split": "train", "where": f"row {number}",
    } | changes  # fmt: skip


def corpus(*rows: dict[str, Any]) -> Corpus:
    return Corpus(rows=list(rows), scales=dict.fromkeys(("valence", "arousal", "dominance"), Scale(1, 7)))


def test_labels_are_centred_and_an_empty_cell_is_unrated() -> None:
    (kept,), dropped = centred_rows(corpus(row(valence="")))
    assert (kept["valence"], kept["arousal"], kept["dominance"], dropped) == (None, -1, 1, [])


@pytest.mark.parametrize(
    ("value", "message"),
    [("7.1", r"7\.1, outside the scale 1\.\.7"), ("0", "outside"), ("nan", "not finite"), ("high", "not a number")],
)
def test_a_bad_label_is_refused_by_row_or_left_out_on_demand(value: str, message: str) -> None:
    two_rows = corpus(row(0), row(1, arousal=value))
    with pytest.raises(UsageError, match=rf"1 row with bad labels: row 1: arousal is .*{message}.*--drop-bad-labels"):
        centred_rows(two_rows)
    kept, dropped = centred_rows(two_rows, drop_bad_labels=True)
    assert ([row["where"] for row in kept], [clip.reason for clip in dropped]) == (["row 0"], ["bad_label"])


def test_many_bad_labels_are_counted_and_three_are_shown() -> None:
    with pytest.raises(UsageError, match=r"5 rows with bad labels: row 0: .*; row 1: .*; row 2: [^;]*; \.\.\."):
        centred_rows(corpus(*(row(number, valence="9") for number in range(5))))


def test_a_clip_without_any_label_is_listed() -> None:
    unrated = {"valence": None, "arousal": None, "dominance": None}
    kept, dropped = centred_rows(corpus(row(0, **unrated), row(1, **unrated, category="anger")))
    assert ([row["where"] for row in kept], [clip.reason for clip in dropped]) == (["row 1"], ["no_label"])


def test_a_label_set_is_a_label_whose_words_have_no_order() -> None:
    unrated = {"valence": None, "arousal": None, "dominance": None}
    kept, dropped = centred_rows(corpus(row(0, **unrated, categories='["fear", "anger"]'), row(1, categories="")))
    assert ([row["categories"] for row in kept], dropped) == (['["anger", "fear"]', None], [])
    kept, dropped = centred_rows(corpus(row(0, categories='["b", "a"]'), row(0, categories='["a", "b"]')))
    assert (len(kept), [clip.reason for clip in dropped]) == (1, ["repeated"])


def test_a_bad_label_set_is_refused_by_row_or_left_out_on_demand() -> None:
    two_rows = corpus(row(0), row(1, category="calm", categories='["anger", "fear"]'))
    with pytest.raises(UsageError, match=r"1 row with bad labels: row 1: categories is .* lacks the clip's own cat"):
        centred_rows(two_rows)
    kept, dropped = centred_rows(two_rows, drop_bad_labels=True)
    assert ([row["where"] for row in kept], [clip.reason for clip in dropped]) == (["row 0"], ["bad_label"])


def test_a_clip_in_which_two_things_are_said_is_refused() -> None:
    with pytest.raises(UsageError, match="row 5 is the same clip as row 0, with another transcript: one of them"):
        centred_rows(corpus(row(0, transcript="No."), row(0, transcript="Yes.", where="row 5")))


def test_a_repeated_row_is_listed_and_a_contradiction_is_refused() -> None:
    kept, dropped = centred_rows(corpus(row(0), row(0, where="row 5"), row(0, start_ms=500)))
    assert [row["start_ms"] for row in kept] == [0, 500]
    assert [(clip.reason, clip.detail, clip.where) for clip in dropped] == [("repeated", "the same as row 0", "row 5")]
    with pytest.raises(UsageError, match="row 5 is the same clip as row 0, with another arousal, split"):
        centred_rows(corpus(row(0), row(0, arousal="2", split="dev", where="row 5")))


def test_a_speaker_in_two_splits_is_refused_or_told() -> None:
    rows = [row(0), row(1), row(2, split="test"), row(3, speaker="t", split="test")]
    with pytest.raises(UsageError, match=r"1 of 2 speakers .* s in train \(row 0\) and test \(row 2\).*--allow-shared"):
        check_speakers(rows)
    assert check_speakers(rows, allow_shared=True)[0].startswith("1 of 2 speakers are in more than one split")
    assert check_speakers(rows[:2]) == []


def test_missing_audio_is_refused_with_its_list_or_let_go() -> None:
    bad = [DroppedClip("0.wav", "NOT_FOUND", "There is no such file.", "row 0")]
    with pytest.raises(
        UsageError, match=r"1 clip of 9 cannot be heard: row 0: There is no such file\. All .* in x\.csv"
    ):
        check_audio(bad, 9, drop_missing=False, listed_in="x.csv")
    check_audio(bad, 9, drop_missing=True, listed_in=None)
    check_audio([], 9, drop_missing=False, listed_in=None)


def test_nothing_left_is_refused_with_the_reasons() -> None:
    dropped = [DroppedClip("0.wav", reason, "", "") for reason in ("category", "category", "no_label")]
    assert count_reasons(dropped) == {"category": 2, "no_label": 1}
    with pytest.raises(UsageError, match=r"No clip is left .*\(category 2, no_label 1\)"):
        check_any_left([], dropped)


def test_the_list_is_a_table() -> None:
    text = dropped_csv([DroppedClip("a,b.wav", "category", 'EmoClass "X"', "row 0")]).decode()
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"uri": "a,b.wav", "reason": "category", "detail": 'EmoClass "X"', "where": "row 0"}
    ]
