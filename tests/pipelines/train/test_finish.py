"""What a fit ended with is calibrated by clips kept apart, by the folds' without those, and loses auxiliary heads."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping
from emosphere.model.network import Network
from emosphere.region_names import REGION_NAMES
from emosphere.tasks import Task
from emosphere.training import Answers
from pipelines.train import finish as module
from pipelines.train.config import TrainConfig
from pipelines.train.finish import finish, without_heads
from pipelines.train.write import TrainedModel
from tests.pipelines.train.tiny_config import LOGMEL
from tests.tasks.loudness import LoudnessTask

WORDS = ("joy", "anger")
NUM_CLIPS = 600
"""Of each split."""


@pytest.fixture(autouse=True)
def loudness() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Task.KINDS, "loudness", LoudnessTask)
        yield


def config(calibrate: tuple[str, ...]) -> TrainConfig:
    heads = {"loudness": {}, "vad": {}, "region": {}, "mood": {"label": "feeling"}, "again": {"label": "feeling"}}
    kinds = {head: "cross-entropy" for head in ("region", "mood", "again")}
    kinds |= {head: "concordance" for head in ("loudness", "vad")}
    values = {
        "name": "x", "licence": "CC0-1.0", "out": "out", "auxiliary_heads": ["again"],
        "clips": {"manifest": "m.csv", "train": ["train"], "calibrate": calibrate},
        "network": {"streams": {"speech": LOGMEL}, "pooling": {"kind": "mean"},
                    "heads": {head: own | {"hidden": 8} for head, own in heads.items()}},
        "labels": {"feeling": {"kind": "category", "words": WORDS, "temperature": 2.0}},
        "fit": {"terms": {head: {"kind": kind} for head, kind in kinds.items()}},
    }  # fmt: skip
    return from_mapping(TrainConfig, values, source="test")


def drawn(settings: TrainConfig, *, with_category: bool = True) -> tuple[InMemoryClips, Answers]:
    """Clips whose classes are drawn by the logits beside them: true ones, of temperature 1."""
    logits = {"region": 2 * torch.randn(2 * NUM_CLIPS, 8), "mood": 2 * torch.randn(2 * NUM_CLIPS, 2)}
    classes = {head: torch.distributions.Categorical(logits=of).sample().tolist() for head, of in logits.items()}
    rng = np.random.default_rng(0)
    clips = []
    for row in range(2 * NUM_CLIPS):
        name = REGION_NAMES[8][classes["region"][row]]  # such as A+V-D+
        arousal, valence, dominance = (
            float(rng.uniform(0.2, 0.8)) * (1 if name[place] == "+" else -1) for place in (1, 3, 5)
        )
        clips.append(
            Clip(uri=f"{row}", speaker=f"s{row % 4}", corpus="c", split="train" if row < NUM_CLIPS else "apart",
                 vad=(valence, arousal, dominance), intensity=f"{rng.uniform(-50, -10):.3f} dB",
                 category=WORDS[classes["mood"][row]] if with_category else None)
        )  # fmt: skip
    return InMemoryClips(tuple(clips), ((),), settings.tasks), logits


def answered(clips: InMemoryClips, logits: Answers, rows: list[int], *, sharpness: float, error: float) -> Answers:
    """Logits too large by ``sharpness``, points off by ``error`` and levels by a tenth of that."""
    targets = clips.targets(rows)
    answers = {head: sharpness * of[rows] for head, of in logits.items()}
    answers |= {"vad": targets["vad"].values + torch.tensor([error, 0.0, 0.0])}
    return answers | {"loudness": targets["loudness"].values + error / 10, "again": answers["mood"]}


def finished(
    settings: TrainConfig, clips: InMemoryClips, logits: Answers, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> TrainedModel:
    """Kept apart: answers three times too sure, off by 0.1; of the folds: half as sure as is right, off by 0.3."""
    monkeypatch.setattr(
        module, "answers_for", lambda _, clips, rows: answered(clips, logits, rows, sharpness=3.0, error=0.1)
    )
    learnt = list(range(NUM_CLIPS))
    given: dict[str, Any] = {
        "network": Network(settings.network, settings.tasks),
        "learnt": learnt,
        "held_out": learnt,
        "held_out_answers": answered(clips, logits, learnt, sharpness=0.5, error=0.3),
        "weights_at_weight_zero": None,
        "figures_at_weight_zero": None,
    } | changes
    network = given.pop("network")
    return finish(settings, network, clips, **given)


def test_clips_kept_apart_calibrate_whatever_the_folds_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(("apart",))
    trained = finished(settings, *drawn(settings), monkeypatch)
    labels = trained.checkpoint.labels
    assert set(labels) == {"loudness", "vad", "region", "feeling"}
    assert [labels[name].temperature for name in ("region", "feeling")] == pytest.approx([3, 3], rel=0.2)
    assert trained.balls["vad"]["from"] == trained.balls["loudness"]["from"] == "calibrate"
    assert labels["vad"].radius_90 == pytest.approx(0.1, abs=1e-3)
    assert labels["loudness"].radius_90 == pytest.approx(0.01, abs=1e-3)
    assert trained.checkpoint.tasks["mood"] == labels["feeling"]


def test_folds_calibrate_classes_where_no_clip_is_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(())
    trained = finished(settings, *drawn(settings), monkeypatch)
    labels = trained.checkpoint.labels
    assert [labels[name].temperature for name in ("region", "feeling")] == pytest.approx([0.5, 0.5], rel=0.2)
    assert trained.balls["vad"]["from"] == "folds"
    assert trained.balls["vad"]["radius"] == pytest.approx(0.3, abs=1e-3)
    assert labels["vad"].radius_90 is None, "the folds' networks are others"


def test_without_either_and_without_labels_nothing_is_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(())
    trained = finished(settings, *drawn(settings), monkeypatch, held_out=[], held_out_answers={})
    assert trained.checkpoint.labels == {
        "loudness": settings.tasks["loudness"], "vad": settings.tasks["vad"], "region": settings.tasks["region"],
        "feeling": settings.tasks["mood"],
    }  # fmt: skip
    assert trained.balls == {}
    unlabelled = finished(settings, *drawn(settings, with_category=False), monkeypatch)
    assert unlabelled.checkpoint.labels["feeling"].temperature == 2.0
    assert unlabelled.checkpoint.labels["region"].temperature == pytest.approx(0.5, rel=0.2)


def test_both_networks_lack_auxiliary_heads_and_keep_their_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(("apart",))
    network = Network(settings.network, settings.tasks)
    last = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    earlier = {name: tensor + 1 for name, tensor in last.items()}
    trained = finished(settings, *drawn(settings), monkeypatch, network=network, weights_at_weight_zero=earlier)
    assert trained.at_weight_zero is not None
    for found, expected in ((trained.network, last), (trained.at_weight_zero, earlier)):
        assert set(found.heads) == set(found.tasks) == set(found.config.heads) == {"loudness", "vad", "region", "mood"}
        weights = found.state_dict()
        assert weights.keys() == {name for name in expected if not name.startswith("heads.again.")}
        assert all(torch.equal(tensor, expected[name]) for name, tensor in weights.items())
    assert trained.checkpoint.network == trained.network.config


def test_every_member_loses_the_head() -> None:
    settings = config(())
    values = {"streams": {"speech": LOGMEL}, "pooling": {"kind": "mean"}, "heads": {"vad": {}, "region": {}},
              "members": 2}  # fmt: skip
    network = Network(from_mapping(type(settings.network), values, source="test"))
    kept = without_heads(network, ["region"])
    assert [set(member.heads) for member in kept.members] == [{"vad"}, {"vad"}]
    weights = network.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in kept.state_dict().items())
    assert not kept.training
