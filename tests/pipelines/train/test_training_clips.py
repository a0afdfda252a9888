"""Which clips a training takes, and which labels must be among them before it starts."""

from pathlib import Path
from typing import Any

import pytest

from emosphere.clips.manifest import Clip, write_manifest
from emosphere.config import from_mapping
from emosphere.errors import UsageError
from emosphere.store import locate
from emosphere.vad import VAD_DIMS
from pipelines.train.config import TrainConfig
from pipelines.train.training_clips import check_enough, read_clips
from tests.pipelines.train.tiny_config import LOGMEL

NAN = float("nan")
UNRATED = (NAN, NAN, NAN)


def config(manifest: str = "m.parquet", *, fit: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
    """Heads: the point, and a mood of two words."""
    terms = {"vad": {"kind": "concordance"}, "mood": {"kind": "cross-entropy"}}
    values = {
        "name": "x", "licence": "CC0-1.0", "out": "out",
        "clips": {"manifest": manifest, "train": ["train"], "choose": ["dev"], "calibrate": ["apart"]},
        "labels": {"mood": {"kind": "category", "words": ["joy", "anger"]}},
        "network": {"streams": {"speech": LOGMEL}, "pooling": {"kind": "mean"}, "heads": {"vad": {}, "mood": {}}},
        "fit": {"terms": terms, "batch_size": 4} | (fit or {}),
    }  # fmt: skip
    return from_mapping(TrainConfig, values | changes, source="test")


def written(folder: Path, *clips: tuple[str, tuple[float, ...], str | None, bool]) -> str:
    """A manifest of these (split, VAD, category, weak) clips, each called by its number."""
    rows = []
    for number, (split, vad, category, weak) in enumerate(clips):
        row: dict[str, Any] = {
            "uri": f"s3://bucket/{number}.wav", "start_ms": 0, "weak": weak, "speaker": "s", "corpus": "c",
            "split": split, "category": category,
        }  # fmt: skip
        rows.append(row | {dim: None if value != value else value for dim, value in zip(VAD_DIMS, vad, strict=True)})
    write_manifest(rows, locate(str(folder / "m.parquet")))
    return str(folder / "m.parquet")


def names(clips: list[Clip]) -> str:
    return "".join(clip.name[0] for clip in clips)


SPLITS: tuple[tuple[str, tuple[float, ...], str | None, bool], ...] = (
    ("dev", (0.1, 0.1, 0.1), None, False),
    ("apart", (0.1, 0.1, 0.1), None, False),
    ("test", (0.1, 0.1, 0.1), None, False),
)


def test_one_known_label_is_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(
        tmp_path,
        *SPLITS,
        ("train", (0.5, NAN, NAN), None, False),
        ("train", UNRATED, "joy", False),
        ("train", UNRATED, "boredom", False),
        ("train", UNRATED, None, False),
        ("train", (0.5, 0.5, 0.5), "anger", False),
    )
    assert names(read_clips(config(path))) == "012347"
    assert "2 clips have no label for vad, mood; they are left out" in caplog.text


def test_ratings_of_other_splits_are_read_to_hold_weak_labels_against(tmp_path: Path) -> None:
    rated, weak = ("other", (0.5, 0.5, 0.5), None, False), ("other", (0.5, 0.5, 0.5), "joy", True)
    for is_weak, expected in ((True, "01234"), (False, "0123")):
        path = written(tmp_path, *SPLITS, ("train", (0.5, 0.5, 0.5), None, is_weak), rated, weak)
        assert names(read_clips(config(path))) == expected


def clip(split: str, *, vad: tuple[float, float, float] = (0.5, 0.5, 0.5), category: str | None = None) -> Clip:
    return Clip(uri="x", speaker="s", corpus="c", split=split, vad=vad, category=category)


def learnt() -> list[Clip]:
    return [clip("train", category=word) for word in ("joy", "anger") * 4]


def test_the_head_to_choose_by_needs_a_label_among_the_clips_to_choose_by() -> None:
    rated, named = clip("dev"), clip("dev", vad=UNRATED, category="joy")
    by_mood, by_vad = config(fit={"choose_by": "mood"}), config()
    check_enough(by_vad, [*learnt(), rated], 1)
    check_enough(by_mood, [*learnt(), named], 1)
    for settings, chosen, head in ((by_mood, rated, "mood"), (by_vad, named, "vad")):
        with pytest.raises(UsageError, match=f"no clip of clips.choose has a label for the head {head}"):
            check_enough(settings, [*learnt(), chosen], 1)


def test_a_head_must_be_taught_by_the_clips_to_learn_from_unless_its_term_is_off() -> None:
    unnamed = [clip("train") for _ in range(8)]
    others = [clip("dev", category="joy"), clip("apart", category="anger")]
    with pytest.raises(UsageError, match="no clip to learn from has a label that teaches the head mood"):
        check_enough(config(), [*unnamed, *others], 1)
    off = {"terms": {"vad": {"kind": "concordance"}, "mood": {"kind": "cross-entropy", "weight": 0.0}}}
    check_enough(config(fit=off), [*unnamed, *others], 1)


def test_only_heads_that_are_kept_are_told_that_nothing_calibrates_them(caplog: pytest.LogCaptureFixture) -> None:
    clips = [*learnt(), clip("dev"), clip("apart")]
    check_enough(config(auxiliary_heads=["mood"]), clips, 1)
    assert "will not be calibrated" not in caplog.text
    check_enough(config(), clips, 1)
    assert "no clip of clips.calibrate has a label for the head mood; it will not be calibrated" in caplog.text
    assert "for the head vad" not in caplog.text
