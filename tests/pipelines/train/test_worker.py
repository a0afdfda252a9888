"""What a worker finds when its training goes on, keeps of its epochs, and hands over in the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray.train.torch
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping
from emosphere.model.encoder import Streams
from emosphere.model.network import Network
from pipelines.train.config import TrainConfig
from pipelines.train.place import FOLDER_NAME, STATE_NAME, OwnProcess, Place, RayWorker
from pipelines.train.worker import Worker
from tests.pipelines.train.tiny_config import LOGMEL


class Context:
    def get_world_rank(self) -> int:
        return 0

    def get_world_size(self) -> int:
        return 2


@pytest.fixture
def ray_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayWorker:
    """Of a training into ``tmp_path``, as Ray Train starts it."""
    monkeypatch.setattr(ray.train, "get_context", Context)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    return RayWorker(tmp_path)


def test_a_training_begins_where_nothing_was_reported(ray_worker: RayWorker, tmp_path: Path) -> None:
    assert ray_worker.saved_state() is OwnProcess(tmp_path).saved_state() is None


def test_a_training_goes_on_from_what_was_reported(
    ray_worker: RayWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ray, or by the command's own process before Ray was asked for."""
    state = {"epoch": 3, "at_weight_zero": {"epochs": 2}, "weights_at_weight_zero": {"w": torch.ones(2)}}
    OwnProcess(tmp_path).report({}, {"epoch": 2})
    OwnProcess(tmp_path).report({}, state)
    assert [path.name for path in (tmp_path / FOLDER_NAME).iterdir()] == [STATE_NAME]
    for found in (OwnProcess(tmp_path).saved_state(), ray_worker.saved_state()):
        assert found is not None
        assert found.keys() == state.keys()
        assert found["at_weight_zero"] == {"epochs": 2}
    torch.save(state | {"epoch": 4}, tmp_path / STATE_NAME)
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: ray.train.Checkpoint.from_directory(tmp_path))
    assert (ray_worker.saved_state() or {})["epoch"] == 4


class Reports(OwnProcess):
    """Keeps what is reported to it, and no state."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, Any]] = []

    def report(self, metrics: dict[str, Any], state: dict[str, Any]) -> None:
        self.metrics.append(metrics)


def worker(terms: dict[str, Any], *, clips: Sequence[Clip] = (), place: Place | None = None, **settings: Any) -> Worker:
    """The only rank of a training whose heads are vad, region (of 18) and category, which is auxiliary."""
    heads = {head: {"hidden": 8, "dropout": 0.0} for head in ("vad", "region", "category")}
    values = {
        "name": "x", "licence": "CC0-1.0", "out": "out", "auxiliary_heads": ["category"],
        "clips": {"manifest": "m.csv", "train": ["train"], "choose": ["dev"]},
        "labels": {"region": {"kind": "region", "regions": 18}},
        "network": {"streams": {"speech": LOGMEL}, "pooling": {"kind": "mean"}, "heads": heads},
    }  # fmt: skip
    kinds = {"vad": "concordance", "region": "cross-entropy", "category": "cross-entropy"}
    all_terms = {head: {"kind": kind} | terms.get(head, {}) for head, kind in kinds.items()}
    fit = {"epochs": 8, "terms": all_terms, "learning_rate": 1e-2} | settings.pop("fit", {})
    made = Worker.__new__(Worker)
    made.config = from_mapping(TrainConfig, values | {"fit": fit} | settings, source="test")
    made.place, made.log = place or Reports(), None
    made.rank, made.num_ranks, made.device = made.place.rank, made.place.num_ranks, made.place.device
    made.clips = InMemoryClips(tuple(clips), ((),), made.config.tasks)
    made.learnt, made.chosen_by = made._rows_of(["train"]), made._rows_of(["dev"])
    made.state = {
        "stage": 0, "epoch": 0, "epochs_done": 0, "fit": None, "best": None, "network": None, "held_out": [],
        "at_weight_zero": None, "weights_at_weight_zero": None,
    }  # fmt: skip
    return made


def labelled() -> list[Clip]:
    points = [(0.5, 0.25, 0.5), (0.5, 0.25, 0.5), (-0.5, 0.25, -0.5), (-0.5, -0.25, -0.5)]
    clips = [Clip(uri=f"{row}", speaker="s", corpus="c", split="train", vad=vad) for row, vad in enumerate(points)]
    return [*clips, Clip(uri="4", speaker="t", corpus="c", split="dev", vad=(0.1, 0.2, 0.3))]


@pytest.mark.parametrize(
    ("terms", "reached"),
    [
        ({"region": {"schedule": "falling", "span_epochs": 5.0}}, [4]),  # .208 of its weight, and 0 afterwards
        ({"region": {"schedule": "falling", "span": 0.25}}, [1]),
        ({"region": {"schedule": "falling", "span_epochs": 5.0, "weight": 0.0}}, []),
        ({"category": {"schedule": "falling", "span_epochs": 5.0}}, []),
        ({"region": {"schedule": "linear"}}, []),
        ({}, []),
    ],
)
def test_the_last_epoch_in_which_a_kept_heads_term_weighs_is_known(terms: dict[str, Any], reached: list[int]) -> None:
    found = worker(terms)
    assert [epoch for epoch in range(8) if found._reaches_weight_zero(epoch)] == reached
    found.state["at_weight_zero"] = {"epochs": 2}
    assert not any(found._reaches_weight_zero(epoch) for epoch in range(8))


class Drifting:
    """A fit whose network moves in place by 1 with every epoch."""

    def __init__(self, config: TrainConfig) -> None:
        self.network = Network(config.network, config.tasks)
        for tensor in self.network.parameters():
            tensor.data.zero_()

    def result(self) -> Network:
        return self.network

    def state(self) -> dict[str, Any]:
        return {}


def at(weights: dict[str, torch.Tensor]) -> float:
    return float(weights["heads.vad.layers.1.bias"][0])


def test_the_best_epoch_is_that_of_the_head_to_choose_by(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = {"region": {"schedule": "falling", "span_epochs": 3.0}}
    reports = Reports()
    made = worker(falling, clips=labelled(), place=reports, fit={"keep": "best", "choose_by": "region"})
    fit, epochs = Drifting(made.config), iter(range(8))

    def one_epoch(*_: Any, **__: Any) -> dict[str, Any]:
        for tensor in fit.network.parameters():
            tensor.data.add_(1)
        return {}

    def figures(*_: Any, **__: Any) -> dict[str, dict[str, float]]:
        """By VAD the first is best, by the region head's recall the sixth, by its accuracy the last."""
        epoch = next(epochs)
        return {
            "vad": {"ccc": 1 - epoch / 10},
            "region": {"uar": [0.1, 0.2, 0.4, 0.3, 0.5, 0.9, 0.8, 0.1][epoch], "accuracy": epoch / 10},
        }

    monkeypatch.setattr("pipelines.train.worker.run_epoch", one_epoch)
    monkeypatch.setattr("pipelines.train.worker.choice_figures", figures)
    monkeypatch.setattr(made, "_new_fit", lambda rows: fit)
    made._run_stage(0, [])
    assert at(made.state["network"]) == 6
    assert [report["choose"]["uar"] for report in reports.metrics][5] == 0.9
    # Its weight is 1, .67 and .34 in the first three epochs; the network goes on moving afterwards.
    assert made.state["at_weight_zero"] == {"epochs": 3, "ccc": 0.8, "uar": 0.4, "accuracy": 0.2}
    assert at(made.state["weights_at_weight_zero"]) == 3


def test_classes_are_weighted_by_the_clips_that_a_stage_learns_from() -> None:
    """N / (K n): two clips of three are of one region of 18, and none has a category."""
    weights = worker({}, clips=labelled())._class_weights([0, 1, 2])
    assert set(weights) == {"region", "category"}
    assert sorted(weights["region"].tolist())[-2:] == pytest.approx([3 / (18 * 2), 3 / 18])
    assert torch.count_nonzero(weights["region"]) == 2
    assert torch.count_nonzero(weights["category"]) == 0


def test_a_new_fit_has_the_labels_heads_and_goes_on_where_there_is_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Mapping[str, str]] = []
    monkeypatch.setattr(Streams, "start_from", lambda self, weights: started.append(weights))
    made = worker({}, clips=labelled())
    fresh = made._new_fit(made.learnt)
    assert fresh.network.tasks["region"].outputs == 18
    assert started == [made.config.weights]
    state = fresh.state()
    state["network"] = {name: tensor + 1 for name, tensor in state["network"].items()}
    made.state["fit"] = state
    found = made._new_fit(made.learnt).network.state_dict()
    assert all(torch.equal(tensor, state["network"][name]) for name, tensor in found.items())


def test_what_is_written_is_the_network_of_the_first_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the answers of the folds in the order in which they came."""
    made = worker({}, clips=labelled())
    network = Network(made.config.network, made.config.tasks)
    made.state |= {"network": network.state_dict(), "held_out": [{"vad": torch.zeros(1, 3)}, {"vad": torch.ones(2, 3)}]}
    handed: dict[str, Any] = {}

    def finish(config: TrainConfig, network: Network, clips: Any, **given: Any) -> str:
        handed.update(given, network=network)
        return "trained"

    written: list[Any] = []
    monkeypatch.setattr("pipelines.train.worker.finish", finish)
    monkeypatch.setattr("pipelines.train.worker.write_model", lambda config, trained: written.append(trained))
    made._write([2, 0, 1])
    assert written == ["trained"]
    assert all(
        torch.equal(tensor, network.state_dict()[name]) for name, tensor in handed["network"].state_dict().items()
    )
    assert (handed["learnt"], handed["held_out"]) == ([0, 1, 2, 3], [2, 0, 1])
    assert handed["held_out_answers"]["vad"].tolist() == [[0] * 3, [1] * 3, [1] * 3]
