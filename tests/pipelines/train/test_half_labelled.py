"""A corpus of emotion words alone, one rated in valence and arousal alone, and one with all labels train together."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.epoch import plan_epoch
from emosphere.clips.manifest import read_manifest, write_manifest
from emosphere.config import from_mapping
from emosphere.model.checkpoint import load_checkpoint
from emosphere.settings import SpeechSettings
from emosphere.store import locate
from emosphere.vad import VAD_DIMS
from pipelines.evaluate.command import evaluate
from pipelines.score.command import score
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import ScoreSettings
from pipelines.train.command import train_with
from pipelines.train.config import TrainConfig
from tests.pipelines.train.spawned import train_by_spawned_ranks
from tests.rounding import assert_same_training

CORPORA = {"words": (22, 4), "pairs": (6, 4), "whole": (4, 4)}
"""Clips to learn from and to test on."""
WORDS = ("anger", "neutral", "sadness")
BATCH_SIZE, EPOCHS, RATE = 4, 2, 1e-3


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones; no two ratings are alike."""
    folder = tmp_path_factory.mktemp("half-labelled")
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for corpus, counts in CORPORA.items():
        for split, count in zip(("train", "test"), counts, strict=True):
            (folder / split).mkdir(exist_ok=True)
            for number in range(count):
                word, vad = number % len(WORDS), rng.uniform(-1, 1, size=3)
                times = np.arange(int(16_000 * rng.uniform(0.3, 0.6))) / 16_000
                tone = 0.2 * np.sin(2 * np.pi * (300 + 900 * word + 100 * vad[1]) * times)
                path = folder / split / f"{corpus}-{number}.flac"
                soundfile.write(path, tone + rng.normal(scale=0.01, size=len(times)), 16_000)
                num_rated = {"words": 0, "pairs": 2, "whole": 3}[corpus]
                row = {
                    "uri": str(path), "start_ms": 0, "weak": False, "corpus": corpus, "split": split,
                    "speaker": f"{corpus}-{split}-{number % 2}", "duration_ms": len(times) // 16,
                    "category": None if corpus == "pairs" else WORDS[word],
                }  # fmt: skip
                rows.append(row | dict(zip(VAD_DIMS[:num_rated], vad.tolist(), strict=False)))
    write_manifest(rows, locate(str(folder / "manifest.parquet")))
    return folder / "manifest.parquet"


def settings(manifest: Path, out: Path, heads: dict[str, str], *, folds: int = 0, **fit: Any) -> TrainConfig:
    """``heads``: the kind of each one's term, by its name."""
    network = {
        "members": 2,
        "streams": {"speech": {"kind": "logmel", "num_mels": 12, "dim": 8, "num_blocks": 1, "dropout": 0.0}},
        "pooling": {"kind": "style", "dim": 8, "dropout": 0.0},
        "heads": {head: {"hidden": 8, "dropout": 0.0} for head in heads},
    }
    terms = {head: {"kind": kind} for head, kind in heads.items()}
    values = {
        "name": "half-labelled", "licence": "CC0-1.0", "out": str(out), "save_every": EPOCHS, "network": network,
        "folds": folds,
        "clips": {"manifest": str(manifest), "train": ["train"]},
        "labels": {"category": {"kind": "category", "words": WORDS}},
        "fit": {"terms": terms, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": RATE} | fit,
    }  # fmt: skip
    return from_mapping(TrainConfig, values, source="test")


def test_two_ranks_learn_what_one_learns_of_half_labelled_corpora(manifest: Path, tmp_path: Path) -> None:
    heads = {"vad": "concordance", "region": "cross-entropy", "category": "cross-entropy"}
    config = settings(manifest, tmp_path / "one", heads, folds=2)
    check_masks_differ(config)
    train_with(config)
    train_by_spawned_ranks(settings(manifest, tmp_path / "two", heads, micro_batch_size=2))
    first, second = (load_checkpoint(tmp_path / name).network for name in ("one", "two"))
    num_steps = EPOCHS * sum(train for train, _ in CORPORA.values()) // BATCH_SIZE
    # 36 frames (0.6 s) are attended to.
    assert_same_training(first, second, num_steps=num_steps, rate=RATE, num_frames=36, batch_size=BATCH_SIZE)

    # Figures count what is labelled: of 12 test clips 8 in valence and arousal, 4 in dominance, 8 by a category.
    evaluation = json.loads((tmp_path / "one" / "evaluation.json").read_text())
    tested = evaluation["test"]
    for figures, counts in ((tested, (12, 8, 4)), (evaluation["cross_validation"], (32, 26, 4))):
        assert (figures["clips"], figures["category_head"]["clips"], figures["region_head"]["clips"]) == counts
    assert evaluation["vad_radius_90"]["clips"] == 4  # a ball is about clips rated in every dimension
    of_corpus = tested["corpora"]
    assert set(of_corpus["words"]["ccc"].values()) == {None}
    assert "region_head" not in of_corpus["words"]
    assert of_corpus["pairs"]["ccc"]["dominance"] is None
    assert {"category_head", "region_head"}.isdisjoint(of_corpus["pairs"])
    evaluate(str(tmp_path / "one"), str(manifest), split="test", out=str(tmp_path / "evaluation"), num_bootstrap=5)
    overall = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())["overall"]
    predicted = pq.read_table(tmp_path / "evaluation" / "predictions.parquet").to_pandas()
    for dim, clips in zip(VAD_DIMS, (8, 8, 4), strict=True):
        assert (overall["dimensions"][dim]["clips"], overall["dimensions"][dim]["unrated"]) == (clips, 12 - clips)
        rated = predicted[predicted[f"{dim}_target"].notna()]
        agreement = concordance(rated[dim].to_numpy(np.float64), rated[f"{dim}_target"].to_numpy())
        assert tested["ccc"][dim] == pytest.approx(agreement, abs=1e-3)
        assert overall["figures"]["ccc"][dim]["value"] == pytest.approx(agreement, abs=1e-3)


def check_masks_differ(config: TrainConfig) -> None:
    """Some batches have clips of which one rank knows a label and the other none, and some have no rated clip."""
    learnt = [clip for clip in read_manifest(config.clips.manifest) if clip.split == "train"]
    clips = InMemoryClips(tuple(learnt), ((),), config.tasks)
    shares: list[list[bool]] = []
    for epoch in range(EPOCHS):
        plan = plan_epoch(clips, range(len(learnt)), None, batch_size=BATCH_SIZE, seed=config.seed, epoch=epoch)
        for batch in plan:
            shares.append([bool(clips.targets(batch.rows[rank::2])["vad"].is_known.any()) for rank in range(2)])
    assert [True, False] in shares
    assert [False, True] in shares
    assert [False, False] in shares


def concordance(predicted: np.ndarray, target: np.ndarray) -> float:
    covariance = np.mean((predicted - predicted.mean()) * (target - target.mean()))
    return float(2 * covariance / (predicted.var() + target.var() + (predicted.mean() - target.mean()) ** 2))


def test_a_model_of_categories_alone_leaves_the_other_columns_null(
    manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(manifest, tmp_path / "model", {"category": "cross-entropy"})
    train_with(config)
    assert "10 clips have no label for category; they are left out" in caplog.text
    tested = json.loads((tmp_path / "model" / "evaluation.json").read_text())["test"]
    assert (tested["clips"], tested["category_head"]["clips"]) == (8, 8)
    card = " ".join((tmp_path / "model" / "README.md").read_text().split())
    assert "a probability for each of 3 categories (anger, neutral, sadness)" in card
    assert "It does not answer valence, arousal, dominance: those columns are null." in card

    archive, out = manifest.with_name("test"), tmp_path / "tables"
    listen = ScoreSettings(listen=SpeechSettings(find_speech=False))
    score(ScoreRequest(archives=(str(archive),), out=str(out), model=str(tmp_path / "model"), settings=listen))
    [path] = (out / "segments").rglob("*.parquet")
    segments = pq.ParquetFile(path).read()
    assert len(segments) == 12
    for name in (
        *VAD_DIMS,
        "radius",
        "azimuth_deg",
        "polar_deg",
        "region",
        "region_name",
        "region_prob",
        "vad_radius_90",
    ):
        assert segments[name].null_count == 12
    for word, prob, probs in zip(
        *(segments[f"category{end}"].to_pylist() for end in ("", "_prob", "_probs")), strict=True
    ):
        assert json.loads(probs)[word] == max(json.loads(probs).values()) == pytest.approx(prob, abs=1e-6)
        assert math.isclose(sum(json.loads(probs).values()), 1, abs_tol=1e-5)
