"""The canonical table is read as it was written; what is wrong in it is refused by row; acted words become targets."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.clips.manifest import read_manifest, write_manifest
from emosphere.emotion_words import EMOTIONS
from emosphere.errors import UsageError
from emosphere.geometry import REGION_NAMES
from emosphere.store import locate
from emosphere.tasks.category import CategoryTask
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask

HEADER = "path,speaker,emotion,intensity,valence,arousal,corpus,split\n"


def table(folder: Path, *rows: str, header: str = HEADER) -> str:
    path = folder / "manifest.csv"
    path.write_text(header + "\n".join(rows) + "\n")
    return str(path)


def canonical(folder: Path, **changes: Any) -> str:
    row = {
        "uri": "a.wav", "start_ms": 500, "end_ms": 2500, "channel": 1, "valence": 0.0, "arousal": 0.0,
        "dominance": 0.0, "weak": False, "category": "neutral", "speaker": "s", "gender": "female", "split": "train",
        "corpus": "c", "duration_ms": 2000,
    } | changes  # fmt: skip
    write_manifest([row], locate(str(folder / "m.parquet")))
    return str(folder / "m.parquet")


def test_a_canonical_row_is_read_as_written(tmp_path: Path) -> None:
    (clip,) = read_manifest(canonical(tmp_path, arousal=-0.5))
    assert (clip.start_ms, clip.end_ms, clip.channel, clip.duration_ms) == (500, 2500, 1, 2000)
    assert (clip.vad, clip.weak, clip.category, clip.gender) == ((0.0, -0.5, 0.0), False, "neutral", "female")
    assert clip.name == "a.wav#500"
    assert clip.place == (clip.uri, 500, 2500, 1)


def test_labels_beside_ratings_are_read_as_written(tmp_path: Path) -> None:
    given = {
        "category": "anger",
        "intensity": "strong",
        "transcript": "\u00c4h, no \u2013 \u201cyes\u201d.",
        "ratings": '[{"rater": "1"}]',
    }
    (clip,) = read_manifest(canonical(tmp_path, **given, categories='["fear", "anger"]'))
    assert {name: getattr(clip, name) for name in given} == given
    assert clip.categories == ("fear", "anger")
    (clip,) = read_manifest(canonical(tmp_path, intensity="", transcript="", ratings="", categories=""))
    assert (clip.intensity, clip.transcript, clip.ratings, clip.categories) == (None, None, None, ())


def test_a_manifest_of_version_1_is_read_without_what_it_lacks(tmp_path: Path) -> None:
    path = canonical(tmp_path, intensity="strong")
    pq.write_table(pq.read_table(path).drop_columns(["transcript", "categories"]), path)
    (clip,) = read_manifest(path)
    assert (clip.intensity, clip.transcript, clip.categories) == ("strong", None, ())
    pq.write_table(pq.read_table(path).drop_columns(["ratings"]), path)
    with pytest.raises(UsageError, match="lacks the columns ratings; make it with"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ("anger", "'anger', which is not a JSON list of words, as in"),
        ('{"anger": 1}', "not a JSON list"),
        ('["neutral", 1]', "not a JSON list of words"),
        ('["neutral", ""]', "not a JSON list of words"),
        ('["neutral", " fear"]', "not a JSON list of words"),
        (r'["neutral", "\ud800"]', "not a JSON list of words"),
        ("[" * 100_000, "not a JSON list"),
        ("[]", "holds no word: give nothing where there is no label set"),
        ('["neutral", "neutral"]', "names a word twice"),
        ('["fear", "calm"]', "lacks the clip's own category, 'neutral': add it, or give only one of the two"),
    ],
    ids=["word", "object", "number", "empty", "blank", "surrogate", "deep", "none", "twice", "outside"],
)
def test_what_is_no_label_set_is_refused_by_row(tmp_path: Path, categories: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"row 0 \(a\.wav\): categories is .*{message}"):
        read_manifest(canonical(tmp_path, categories=categories))


def test_the_rated_middle_has_a_region_and_the_weak_one_has_none(tmp_path: Path) -> None:
    """A coordinate of exactly 0 counts as positive; but the word "neutral" points nowhere."""
    given: list[tuple[dict[str, Any], bool]] = [({}, True), ({"weak": True}, False), ({"dominance": None}, False)]
    for changes, is_located in given:
        values, is_known = RegionTask().labels(read_manifest(canonical(tmp_path, **changes)))
        assert is_known.tolist() == [is_located]
        assert values.tolist() == [0] or not is_located


@pytest.mark.parametrize("value", [1.5, -7.0, math.nan, math.inf])
def test_a_target_outside_the_scale_is_refused_by_row(tmp_path: Path, value: float) -> None:
    with pytest.raises(UsageError, match=r"row 0 \(a\.wav\): arousal is .*wanted the centred scale"):
        read_manifest(canonical(tmp_path, arousal=value))


def test_another_parquet_table_is_no_manifest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"uri": ["a"]}), tmp_path / "m.parquet")
    with pytest.raises(UsageError, match=r"lacks the columns start_ms, .*emosphere prepare"):
        read_manifest(str(tmp_path / "m.parquet"))


def test_regions_follow_the_signs_and_neutral_has_none(tmp_path: Path) -> None:
    rows = [f"a.wav,s1,{emotion},,,,c,train" for emotion in EMOTIONS]
    clips = read_manifest(table(tmp_path, *rows))
    regions, is_located = RegionTask().labels(clips)
    names = {clips[row].category: REGION_NAMES[8][regions[row]] for row in is_located.nonzero()[0]}
    assert names == {
        "anger": "A+V-D+",
        "happiness": "A+V+D+",
        "sadness": "A-V-D-",
        "fear": "A+V-D-",
        "disgust": "A+V-D+",
        "surprise": "A+V+D-",
        "boredom": "A-V-D-",
        "calm": "A-V+D+",
    }
    assert not is_located[EMOTIONS.index("neutral")]
    assert CategoryTask().labels(clips)[0].tolist() == list(range(9))
    assert VadTask().labels(clips)[0][EMOTIONS.index("neutral")].tolist() == [0, 0, 0]


def test_ratings_are_kept_apart_from_weak_labels(tmp_path: Path) -> None:
    clips = read_manifest(table(tmp_path, "a.wav,s,fear,,-0.5,0.9,c,rated", "b.wav,s,fear,,,,c,train"))
    assert [clip.weak for clip in clips] == [False, True]
    assert clips[0].vad[:2] == (-0.5, 0.9)
    assert math.isnan(clips[0].vad[2])
    assert RegionTask().labels(clips)[1].tolist() == [False, True]


def test_acted_rows_keep_intensity_and_transcript(tmp_path: Path) -> None:
    header = HEADER.replace("split", "split,transcript")
    rows = ['a.wav,s,fear,strong,,,c,train,"Who?\r\n It\tis I."', "b.wav,s,fear,,,,c,train,"]
    clips = read_manifest(table(tmp_path, *rows, header=header))
    assert [(clip.intensity, clip.transcript) for clip in clips] == [("strong", "Who? It is I."), (None, None)]
    with pytest.raises(UsageError, match=r"row 0 \(a\.wav\): transcript is 'a\\x07', which holds the .* U\+0007"):
        read_manifest(table(tmp_path, "a.wav,s,fear,,,,c,train,a\x07", header=header))


def test_readings_that_may_be_of_one_person_are_one_speaker(tmp_path: Path) -> None:
    rows = [f"a.wav,{name},fear,,,,c,train" for name in ("emotiontts_ema", "emotiontts_nea", "ravdess_01")]
    assert [clip.speaker for clip in read_manifest(table(tmp_path, *rows))] == ["emotiontts_a"] * 2 + ["ravdess_01"]


def test_paths_count_from_the_manifests_folder_or_the_one_above(tmp_path: Path) -> None:
    (tmp_path / "near.wav").touch()
    clips = read_manifest(table(tmp_path, "near.wav,s,fear,,,,c,train", "far.wav,s,fear,,,,c,train"))
    assert [clip.uri for clip in clips] == [str(tmp_path / "near.wav"), str(tmp_path.parent / "far.wav")]


def test_no_known_speaker_stands_in_two_splits(shared_data: Path) -> None:
    clips = read_manifest(str(shared_data / "emotion" / "manifest.csv"))
    splits: dict[str, set[str]] = {}
    for clip in clips:
        splits.setdefault(clip.speaker, set()).add(clip.split)
    assert len(clips) == 2931
    assert all(len(splits_of_speaker) == 1 for splits_of_speaker in splits.values())


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["a.wav,s,joy,,,,c,train"], HEADER, "emotion 'joy' is not one of anger"),
        ([], HEADER, "holds no clip"),
        (["a.wav,s"], "path,speaker\n", "lacks the columns emotion, intensity, corpus, split; .*`emosphere prepare"),
        (["a.wav,s,anger,,high,0,c,train"], HEADER, r"row 0 \(a\.wav\): valence is 'high', which is not a number"),
        (["a.wav,s,anger,,nan,0,c,train"], HEADER, r"row 0 \(a\.wav\): valence is nan, which is not finite"),
        (
            ["a.wav,s,anger,,0,0,c,train,1", "b.wav,s,anger,,0,0,c,train,x"],
            HEADER.replace("split", "split,duration_s"),
            r"row 1 \(b\.wav\): duration_s is 'x', which is not a number",
        ),
        (["a.wav,s,anger,,0,0,c,train", "b.wav,s"], HEADER, "row 1 has another number of cells than the header"),
        (["a.wav,s,anger,,0,0,c,train,more"], HEADER, "row 0 has another number of cells than the header"),
        (["a.wav,s,anger,,0,0,c," + "x" * 200_000], HEADER, "row 0 cannot be read as CSV .field larger"),
    ],
    ids=[
        "unknown emotion",
        "empty",
        "missing columns",
        "rating is a word",
        "rating is NaN",
        "duration is a word",
        "short row",
        "long row",
        "endless cell",
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_manifest(table(tmp_path, *rows, header=header))


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(f"{HEADER}a.wav,s,anger,,,,c,train\n", encoding="utf-8-sig")
    assert [clip.category for clip in read_manifest(str(path))] == ["anger"]


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read as a manifest"):
        read_manifest(str(tmp_path / "none.csv"))


def test_manifest_and_audio_may_lie_in_any_store() -> None:
    import io

    import numpy as np
    import soundfile

    from emosphere.clips.batches import read_clip

    sound = io.BytesIO()
    soundfile.write(sound, np.full(16_000, 0.25), 16_000, format="WAV")
    locate("memory://corpus/audio/a.wav").write_bytes(sound.getvalue())
    row = {"uri": "audio/a.wav", "start_ms": 250, "weak": True, "speaker": "s", "split": "train", "corpus": "c"}
    write_manifest([row], locate("memory://corpus/m.parquet"))
    (clip,) = read_manifest("memory://corpus/m.parquet")
    assert clip.uri.startswith("memory://")
    assert len(read_clip(clip)) == 12_000
