"""A training's log while it runs: JSON lines and TensorBoard always, MLflow where wanted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emosphere.errors import UsageError

LOG_NAME = "log.jsonl"
"""One JSON object per epoch, beside the checkpoint."""
MLFLOW_NAME = "mlflow.json"


class TrainLog:
    """Opened anew when a run resumes; epochs that are run again replace what was logged of them."""

    def __init__(self, out: Path, *, name: str, mlflow: str | None, settings: Mapping[str, Any], done: int) -> None:
        """``done``: epochs that stand, over all stages."""
        from tensorboardX import SummaryWriter

        self._path = out / LOG_NAME
        lines = self._path.read_text(encoding="utf-8").splitlines()[:done] if self._path.exists() else []
        self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=done)
        self._tracker = None if mlflow is None else _Tracker(out, name, mlflow, settings)
        self._step = done

    def write(self, stage: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """One epoch: nested numbers become names with slashes."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, "epoch": epoch} | dict(metrics)) + "\n")
        flat = {f"stage{stage}/{name}": value for name, value in _flat(metrics)}
        for name, value in flat.items():
            self._board.add_scalar(name, value, self._step)
        self._board.flush()
        if self._tracker is not None:
            self._tracker.write(flat, self._step)
        self._step += 1

    def close(self) -> None:
        """The training is finished."""
        self._board.close()
        if self._tracker is not None:
            self._tracker.finish()


class _Tracker:
    """MLflow, by its client. A resumed training goes on in the run that it began."""

    def __init__(self, out: Path, name: str, address: str, settings: Mapping[str, Any]) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UsageError("mlflow is set, but not installed: pip install 'emosphere[mlflow]'.") from error
        self._client = MlflowClient(tracking_uri=address)
        note = out / MLFLOW_NAME
        if note.exists():
            self._run_id: str = json.loads(note.read_text(encoding="utf-8"))["run_id"]
            return
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._run_id = self._client.create_run(experiment_id).info.run_id
        note.write_text(json.dumps({"run_id": self._run_id}) + "\n", encoding="utf-8")
        for key, value in _flat_settings(settings):
            self._client.log_param(self._run_id, key, value)

    def write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run_id, name, value, step=step)

    def finish(self) -> None:
        self._client.set_terminated(self._run_id)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    numbers: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            numbers += _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            numbers.append((f"{prefix}{name}", float(value)))
    return numbers


def _flat_settings(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    texts: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            texts += _flat_settings(value, f"{prefix}{name}.")
        elif name != "card":
            texts.append((f"{prefix}{name}", str(value)[:500]))
    return texts
