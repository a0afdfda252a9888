"""IEMOCAP's own files: valence comes first, the turn's letter speaks, sessions make the splits."""

import json
from pathlib import Path

import pytest

from emosphere.corpora.checks import centred_rows
from emosphere.corpora.iemocap import read_iemocap
from emosphere.errors import UsageError
from emosphere.store import locate
from tests.corpora.iemocap import make_iemocap


def test_a_turn_comes_out_as_computed_by_hand(tmp_path: Path) -> None:
    rows, dropped = centred_rows(read_iemocap(locate(str(make_iemocap(tmp_path)))))
    assert (len(rows), dropped) == (10, [])
    first, second = rows[:2]
    # 2 (y - 1) / 4 - 1 of [V, A, D] = [2.5, 3, 5]
    assert [first[dim] for dim in ("valence", "arousal", "dominance")] == [-0.25, 0.0, 1.0]
    assert first["uri"] == str(tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    assert (first["category"], second["category"]) == ("neutral", None)
    # The second turn is spoken by the man, in the dialog in which the woman wore the markers.
    assert [(row["speaker"], row["gender"]) for row in (first, second)] == [
        ("iemocap_Ses01F", "female"),
        ("iemocap_Ses01M", "male"),
    ]


def test_the_raters_answers_are_kept_as_given(tmp_path: Path) -> None:
    first, second, *_ = read_iemocap(locate(str(make_iemocap(tmp_path)))).rows
    assert json.loads(first["ratings"]) == [
        {"rater": "E2", "categories": ["Neutral"]},
        {"rater": "E3", "categories": ["Neutral", "Frustration"], "valence": 3, "arousal": 2, "dominance": 2},
        {"rater": "E4", "valence": 2, "arousal": None, "dominance": 3},
    ]
    assert json.loads(second["ratings"]) == [{"rater": "M1", "categories": ["Other"]}]


def test_a_turns_transcript_is_its_line(tmp_path: Path) -> None:
    make_iemocap(tmp_path)
    folder = tmp_path / "Session1" / "dialog" / "transcriptions"
    folder.mkdir()
    (folder / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")
    (folder / "Ses01F_impro01.txt").write_bytes(
        b"\xef\xbb\xbfSes01F_impro01_F000 [006.2901-008.2357]: Caf\xc3\xa9: [LAUGHTER]  yes.\r\n"
        b"M: Yeah.\r\nSes01F_impro01_MXX0 [151.2551-153.4251]: Nobody's turn.\r\n"
    )
    corpus = read_iemocap(locate(str(tmp_path)))
    assert [row["transcript"] for row in corpus.rows[:3]] == ["Caf\u00e9: [LAUGHTER] yes.", None, None]
    assert corpus.notes == ["iemocap: 9 of 10 turns have no transcript."]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"it\x92s", r"Ses01F_impro01\.txt: is not UTF-8 text .*0x92.*; convert the file, or take it away"),
        (b"i\0t\0s", r"Ses01F_impro01\.txt: transcript of Ses01F_impro01_F000 is 'i\\x00t.*control character U\+0000"),
    ],
    ids=["encoding", "control character"],
)
def test_a_transcript_that_is_no_text_is_refused_by_file(tmp_path: Path, line: bytes, message: str) -> None:
    make_iemocap(tmp_path)
    folder = tmp_path / "Session1" / "dialog" / "transcriptions"
    folder.mkdir()
    (folder / "Ses01F_impro01.txt").write_bytes(b"Ses01F_impro01_F000 [006.2901-008.2357]: " + line)
    with pytest.raises(UsageError, match=message):
        read_iemocap(locate(str(tmp_path)))


def test_sessions_are_the_splits(tmp_path: Path) -> None:
    source = locate(str(make_iemocap(tmp_path)))
    assert [row["split"] for row in read_iemocap(source).rows[::2]] == ["train", "train", "train", "dev", "test"]
    rows = read_iemocap(source, test_session=1, dev_session=2).rows
    assert [row["split"] for row in rows[::2]] == ["test", "dev", "train", "train", "train"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_session": 6}, r"--test-session 6 is not one of 1\.\.5"),
        ({"test_session": 4}, "both 4; they must differ"),
    ],
)
def test_impossible_splits_are_refused(tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_iemocap(locate(str(make_iemocap(tmp_path))), **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1.0 - 2.0]\tSes03F_impro01_F000\tjoy\t[3, 3, 3]\n", r"line 1 \(Ses03F_impro01_F000\): emotion 'joy'"),
        ("[1.0 - 2.0] Ses03F_impro01_F000 neu\n", r"Ses03F_impro01\.txt line 1: .* is not '\[start - end\]"),
        ("", "Session3/dialog/EmoEvaluation holds no labelled turn"),
    ],
    ids=["emotion", "line", "empty"],
)
def test_what_is_not_documented_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_iemocap(locate(str(make_iemocap(tmp_path, session3=text))))
