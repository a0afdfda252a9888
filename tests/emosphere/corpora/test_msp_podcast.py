"""MSP-Podcast as its makers ship it: every column by hand, both layouts of the raters' answers, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emosphere.clips.rows import Corpus
from emosphere.corpora.checks import centred_rows
from emosphere.corpora.msp_podcast import CATEGORIES, PRIMARY, read_msp_podcast
from emosphere.errors import UsageError
from emosphere.store import locate
from tests.corpora.msp_podcast import make_msp_podcast

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
ROWS = (
    "MSP-PODCAST_0001_0008.wav,N,4.2,3.8,4.0,127,Male,Test1",
    "MSP-PODCAST_0002_0033.wav,A,7,1,5.5,128,Female,Train",
    "MSP-PODCAST_0002_0034.wav,X,4,4,4,Unknown,Unknown,Development",
    "MSP-PODCAST_0002_0035.wav,O,1,7,2.5,Unknown,Female,Train",
)
PACKED = """FileName,EmoDetail
MSP-PODCAST_0001_0008.wav,"WORKER00000001; Neutral; Neutral,Concerned; A:4.000000; V:3.000000; D:5.000000;"
MSP-PODCAST_0001_0008.wav,"WORKER00000002; Other-a ; b; ; A:5; V:4; D:3"
MSP-PODCAST_0001_0008.wav,not as documented
"""
SEVERAL = """FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom
MSP-PODCAST_0001_0008.wav,WORKER00000001,Neutral,"Neutral,Concerned",4,3,5
"""


def corpus(folder: Path, *rows: str, detailed: str | None = None, **options: object) -> Corpus:
    (folder / "Audios").mkdir()
    (folder / "Labels").mkdir()
    (folder / "Labels" / "labels_consensus.csv").write_text("\n".join([HEADER, *(rows or ROWS)]) + "\n")
    if detailed:
        (folder / "Labels" / "labels_detailed.csv").write_text(detailed)
    return read_msp_podcast(locate(str(folder)), **({"release": "1.12"} | options))


def test_the_columns_come_out_as_computed_by_hand(tmp_path: Path) -> None:
    rows, _ = centred_rows(corpus(tmp_path, drop=()))
    first, second, third, fourth = rows
    assert first["uri"] == str(tmp_path / "Audios" / "MSP-PODCAST_0001_0008.wav")
    # (y - 4) / 3, and the file's order is arousal, valence, dominance.
    assert [first[dim] for dim in ("valence", "arousal", "dominance")] == pytest.approx([-0.2 / 3, 0.2 / 3, 0])
    assert [second[dim] for dim in ("valence", "arousal", "dominance")] == [-1, 1, 0.5]
    assert (first["category"], second["category"], third["category"], fourth["category"]) == (
        "neutral", "anger", None, "other",
    )  # fmt: skip
    assert (first["speaker"], first["gender"], first["split"]) == ("msp-podcast_127", "male", "test1")
    assert (second["split"], third["split"], third["gender"]) == ("train", "dev", None)
    assert first["corpus"] == "msp-podcast-1.12"
    assert not any(row["weak"] for row in rows)


def test_an_unknown_speaker_is_a_key_of_its_split_and_is_told(tmp_path: Path) -> None:
    podcast = corpus(tmp_path, drop=())
    assert [row["speaker"] for row in podcast.rows[2:]] == ["msp-podcast_unknown-dev", "msp-podcast_unknown-train"]
    assert any(note.startswith("2 clips have an unknown speaker (dev 1, train 1)") for note in podcast.notes)


def test_a_clip_whose_labels_are_hidden_is_listed(tmp_path: Path) -> None:
    rows, dropped = centred_rows(corpus(tmp_path, ROWS[0], "MSP-PODCAST_0003_0001.wav,,,,,Unknown,Unknown,Test3"))
    assert (len(rows), [clip.reason for clip in dropped]) == (1, ["no_label"])


@pytest.mark.parametrize(("drop", "left"), [(("X", "O"), "NA"), (("X",), "NAO"), ((), "NAXO")])
def test_letters_are_dropped_as_asked_and_each_is_listed(tmp_path: Path, drop: tuple[str, ...], left: str) -> None:
    podcast = corpus(tmp_path, drop=drop)
    assert [row["category"] for row in podcast.rows] == [CATEGORIES[letter] for letter in left]
    assert [clip.reason for clip in podcast.dropped] == ["category"] * (4 - len(left))


def test_the_eight_categories_are_all_but_other_and_none() -> None:
    assert {word for word in CATEGORIES.values() if word not in ("other", None)} == set(PRIMARY)


def test_answers_packed_into_one_column_are_kept_as_given(tmp_path: Path) -> None:
    row = corpus(tmp_path, detailed=PACKED).rows[0]
    first, second, third = json.loads(row["ratings"])
    assert first == {
        "rater": "WORKER00000001", "categories": ["Neutral"], "secondary": ["Neutral", "Concerned"],
        "valence": 3.0, "arousal": 4.0, "dominance": 5.0,
    }  # fmt: skip
    assert (second["valence"], second["arousal"], second["dominance"]) == (4.0, 5.0, 3.0)
    assert third == {"raw": "not as documented"}


def test_answers_in_several_columns_are_the_same_answers(tmp_path: Path) -> None:
    packed, several = tmp_path / "packed", tmp_path / "several"
    packed.mkdir()
    several.mkdir()
    first = json.loads(corpus(packed, detailed=PACKED).rows[0]["ratings"])[0]
    rows = corpus(several, detailed=SEVERAL, release="2.0").rows
    assert json.loads(rows[0]["ratings"]) == [first]
    assert rows[1]["ratings"] is None


def test_transcripts_are_the_files_of_the_clips_names(tmp_path: Path) -> None:
    (tmp_path / "Transcripts").mkdir()
    (tmp_path / "Transcripts" / "MSP-PODCAST_0001_0008.txt").write_bytes(b"\xef\xbb\xbfWell, na\xc3\xafve\r\nme.\r\n")
    (tmp_path / "Transcripts" / "MSP-PODCAST_0002_0033.txt").write_bytes(b"\n")
    podcast = corpus(tmp_path, drop=())
    assert [row["transcript"] for row in podcast.rows] == ["Well, na\u00efve me.", None, None, None]
    assert "msp-podcast-1.12: 3 of 4 clips have no transcript." in podcast.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"it\x92s", r"Transcripts/MSP-PODCAST_0001_0008\.txt: is not UTF-8 text .*0x92"),
        ("yes".encode("utf-16"), r"0001_0008\.txt: is not UTF-8 text .*; convert the file, or take it away"),
        ("yes".encode("utf-16-le"), r"0001_0008\.txt: the transcript is 'y\\x00e.*control character U\+0000"),
    ],
    ids=["Windows", "UTF-16", "UTF-16 without a mark"],
)
def test_a_transcript_that_is_no_text_is_refused_by_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "Transcripts").mkdir()
    (tmp_path / "Transcripts" / "MSP-PODCAST_0001_0008.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        corpus(tmp_path)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (ROWS[0], {"release": "1.10"}, "--release '1.10' is not one of 1.11, 1.12, 2.0"),
        (ROWS[0], {"drop": ("Z",)}, "--drop names Z; the letters of EmoClass are A, S,"),
        (ROWS[0].replace("Test1", "Test4"), {}, r"row 0 \(MSP-PODCAST_0001_0008.wav\): Split_Set 'Test4'"),
        (ROWS[0].replace(",N,", ",Q,"), {}, "EmoClass 'Q' is not one of"),
        (ROWS[0] + ",more", {}, "row 0 has another number of cells"),
    ],
    ids=["release", "letter", "split", "category", "ragged"],
)
def test_what_is_not_documented_is_refused(tmp_path: Path, row: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        corpus(tmp_path, row, **options)


def test_another_table_and_another_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither Labels/labels_consensus\.csv"):
        read_msp_podcast(locate(str(tmp_path)), release="1.12")
    (tmp_path / "labels_consensus.csv").write_text("FileName,EmoClass\na.wav,N\n")
    with pytest.raises(UsageError, match="lacks the columns EmoAct, EmoVal"):
        read_msp_podcast(locate(str(tmp_path)), release="1.12")
    (tmp_path / "labels_consensus.csv").write_text(f"{HEADER}\n{ROWS[0]}\n")
    with pytest.raises(UsageError, match="no folder Audios or Audio; name the folder of the WAV files by --audio"):
        read_msp_podcast(locate(str(tmp_path)), release="1.12")
    podcast = read_msp_podcast(locate(str(tmp_path)), release="1.12", audio=locate(str(tmp_path / "wav")))
    assert podcast.rows[0]["uri"] == str(tmp_path / "wav" / "MSP-PODCAST_0001_0008.wav")


@pytest.mark.parametrize("release", ["1.11", "2.0"])
def test_the_made_up_corpus_is_one_of_the_release(tmp_path: Path, release: str) -> None:
    """And its labels are the means of its raters."""
    make_msp_podcast(tmp_path, 80, seed=3, release=release)
    podcast = read_msp_podcast(locate(str(tmp_path)), release=release, drop=())
    assert len(podcast.rows) == 80
    assert {row["split"] for row in podcast.rows} == {"train", "dev", "test1", "test2"}
    assert {row["category"] for row in podcast.rows} == set(CATEGORIES.values())
    for row in podcast.rows:
        answers = json.loads(row["ratings"])
        assert sum(answer["arousal"] for answer in answers) / len(answers) == pytest.approx(float(row["arousal"]))


def test_the_made_up_voices_carry_their_labels(tmp_path: Path) -> None:
    """Level goes with dominance, pitch with valence, syllables with arousal: a small model can learn them."""
    make_msp_podcast(tmp_path, 80, seed=5)
    rows, _ = centred_rows(read_msp_podcast(locate(str(tmp_path)), release="1.12", drop=()))
    level_db, pitch_log, syllables_log = [], [], []
    for row in rows:
        sound, rate_hz = soundfile.read(row["uri"])
        level_db.append(10 * np.log10(np.mean(sound**2)))
        spectrum = np.abs(np.fft.rfft(sound, n=1 << 17))
        hz = np.fft.rfftfreq(1 << 17, 1 / rate_hz)
        voiced = (hz > 70) & (hz < 400)
        # The strongest line below 400 Hz is the pitch: partials fall off by 1/k.
        pitch_log.append(np.log2(hz[voiced][np.argmax(spectrum[voiced])]))
        envelope = np.abs(sound)
        beat = np.abs(np.fft.rfft(envelope - envelope.mean(), n=1 << 17))
        slow = (hz > 1.5) & (hz < 10)
        syllables_log.append(np.log2(hz[slow][np.argmax(beat[slow])]))
    for changed, dim in ((level_db, "dominance"), (pitch_log, "valence"), (syllables_log, "arousal")):
        assert np.corrcoef(changed, [row[dim] for row in rows])[0, 1] > 0.9
