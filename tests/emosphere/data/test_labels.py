"""Weak labels as published, scaled by intensity; manifests read and refused."""

from pathlib import Path

import pytest
import torch

from emosphere.data.labels import (
    EMOTIONS,
    MEAN_VAD,
    category_targets,
    read_manifest,
    region_targets,
    vad_targets,
    weak_vad,
)
from emosphere.errors import UsageError
from emosphere.geometry import REGION_NAMES

HEADER = "path,speaker,emotion,intensity,valence,arousal,corpus,split\n"


def manifest(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text(header + "\n".join(rows) + "\n")
    return path


def test_strong_is_the_mean_and_all_else_three_quarters_of_it() -> None:
    assert weak_vad("anger", "strong") == (-0.51, 0.59, 0.25)
    assert weak_vad("anger", "normal") == weak_vad("anger", "") == pytest.approx((-0.3825, 0.4425, 0.1875))


def test_dominance_of_these_norms_nearly_copies_valence() -> None:
    """The reason why the model card calls dominance not validated."""
    table = torch.tensor([MEAN_VAD[emotion] for emotion in EMOTIONS])
    correlation = torch.corrcoef(table.T)
    assert correlation[0, 2] > correlation[1, 2] + 0.2


def test_regions_follow_the_signs_and_neutral_has_none(tmp_path: Path) -> None:
    rows = [f"a.wav,s1,{emotion},,,,c,train" for emotion in EMOTIONS]
    clips = read_manifest(manifest(tmp_path, *rows))
    names = {clip.emotion: REGION_NAMES[8][clip.region] for clip in clips if clip.region >= 0}
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
    assert region_targets(clips)[EMOTIONS.index("neutral")] == -1
    assert category_targets(clips).tolist() == list(range(9))
    assert vad_targets(clips)[EMOTIONS.index("neutral")].tolist() == [0, 0, 0]


def test_ratings_are_kept_apart_from_weak_labels(tmp_path: Path) -> None:
    clips = read_manifest(manifest(tmp_path, "a.wav,s,fear,,-0.5,0.9,c,rated", "b.wav,s,fear,,,,c,train"))
    assert [clip.rated for clip in clips] == [(-0.5, 0.9), None]
    assert clips[0].vad == clips[1].vad


def test_readings_that_may_be_of_one_person_are_one_speaker(tmp_path: Path) -> None:
    rows = [f"a.wav,{name},fear,,,,c,train" for name in ("emotiontts_ema", "emotiontts_nea", "ravdess_01")]
    assert [clip.speaker for clip in read_manifest(manifest(tmp_path, *rows))] == ["emotiontts_a"] * 2 + ["ravdess_01"]


def test_paths_count_from_the_manifests_folder_or_the_one_above(tmp_path: Path) -> None:
    (tmp_path / "near.wav").touch()
    clips = read_manifest(manifest(tmp_path, "near.wav,s,fear,,,,c,train", "far.wav,s,fear,,,,c,train"))
    assert [clip.path for clip in clips] == [tmp_path / "near.wav", tmp_path.parent / "far.wav"]


def test_no_known_speaker_stands_in_two_splits(shared_data: Path) -> None:
    clips = read_manifest(shared_data / "emotion" / "manifest.csv")
    splits: dict[str, set[str]] = {}
    for clip in clips:
        splits.setdefault(clip.speaker, set()).add(clip.split)
    assert len(clips) == 2931
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["a.wav,s,joy,,,,c,train"], HEADER, "emotion 'joy' is not one of anger"),
        ([], HEADER, "holds no clip"),
        (["a.wav,s"], "path,speaker\n", "lacks the columns corpus, emotion, intensity, split"),
    ],
    ids=["unknown emotion", "empty", "missing columns"],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_manifest(manifest(tmp_path, *rows, header=header))


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read as a manifest"):
        read_manifest(tmp_path / "none.csv")
