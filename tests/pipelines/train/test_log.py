"""A resumed training logs each epoch once, in every place it logs to."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from emosphere.errors import UsageError
from pipelines.train.log import LOG_NAME, TrainLog


class Tracking:
    """As much of MLflow's client as training uses; it forgets nothing that two clients of one address tell it."""

    runs: dict[str, dict[str, Any]]

    def __init__(self, tracking_uri: str) -> None:
        self.address = tracking_uri

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"experiment of {name}"

    def create_run(self, experiment_id: str) -> Any:
        run_id = f"run{len(self.runs)}"
        self.runs[run_id] = {"params": {}, "metrics": []}
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id))

    def log_param(self, run_id: str, key: str, value: str) -> None:
        self.runs[run_id]["params"][key] = value

    def set_terminated(self, run_id: str) -> None:
        self.runs[run_id]["status"] = "FINISHED"

    def log_metric(self, run_id: str, key: str, value: float, step: int) -> None:
        self.runs[run_id]["metrics"].append((key, value, step))


def run(out: Path, *, done: int, epochs: int, mlflow: str | None = None, closes: bool = True) -> None:
    settings = {"fit": {"epochs": 3}, "card": "long text"}
    log = TrainLog(out, name="n", mlflow=mlflow, settings=settings, done=done)
    for epoch in range(done, epochs):
        log.write(0, epoch + 1, {"loss": {"vad": 2.0 - epoch}, "waiting": 0.0, "note": "no number"})
    if closes:
        log.close()


def test_epochs_that_are_run_again_replace_their_lines(tmp_path: Path) -> None:
    run(tmp_path, done=0, epochs=3)
    run(tmp_path, done=1, epochs=3)  # the last saved state was that after the first epoch
    lines = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [(0, 1), (0, 2), (0, 3)]
    assert lines[2]["loss"] == {"vad": 0.0}
    assert len(list((tmp_path / "tensorboard").iterdir())) >= 1


def test_mlflow_goes_on_in_the_run_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tracking, "runs", {}, raising=False)
    module = types.ModuleType("mlflow.tracking")
    module.MlflowClient = Tracking  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", module)
    run(tmp_path, done=0, epochs=2, mlflow="http://tracker", closes=False)
    assert "status" not in Tracking.runs["run0"]  # broken off
    run(tmp_path, done=2, epochs=3, mlflow="http://tracker")
    assert list(Tracking.runs) == ["run0"]
    assert Tracking.runs["run0"]["status"] == "FINISHED"
    assert Tracking.runs["run0"]["params"] == {"fit.epochs": "3"}
    losses = [(value, step) for key, value, step in Tracking.runs["run0"]["metrics"] if key == "stage0/loss/vad"]
    assert losses == [(2.0, 0), (1.0, 1), (0.0, 2)]


def test_mlflow_that_is_missing_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(UsageError, match=r"pip install 'emosphere\[mlflow\]'"):
        run(tmp_path, done=0, epochs=1, mlflow="x")
