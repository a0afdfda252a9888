"""Labelled clips -> a checkpoint folder: Ray Train around emosphere.training."""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from emosphere.clips.manifest import Clip
from emosphere.config import digest, load_config
from emosphere.errors import EmosphereError, MachineError, UsageError
from emosphere.model.description import EVALUATION_NAME
from emosphere.redaction import redact
from emosphere.store import locate, unsigned
from pipelines.cluster.resources import connect
from pipelines.train.clips import check_enough, read_clips
from pipelines.train.config import TrainConfig, printable_settings
from pipelines.train.features import decode_all, features_digest, unreadable, unreadable_beforehand
from pipelines.train.log import LOG_NAME
from pipelines.train.progress import OnProgress, followed
from pipelines.train.report import short_figures
from pipelines.train.worker import FEATURES, train_on_worker
from pipelines.train.write import write_card

RECORD_NAME = "training.json"
"""What was trained, by which settings; it lies beside the checkpoint."""
SQLITE = "sqlite:///"
"""What MLflow's address begins with where a file of this machine, from the working directory, is the database."""
ALONE_S = 6 * 3600
"""How long a rank may work alone before the others give it up."""


def train(
    config_path: Path, *, num_workers: int = 1, resume: bool = True, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Train what ``config_path`` describes; returns a JSON-ready summary. See :func:`train_with`."""
    config = load_config(TrainConfig, config_path)
    return train_with(config, num_workers=num_workers, resume=resume, on_progress=on_progress)


def train_with(
    config: TrainConfig,
    *,
    num_workers: int = 1,
    resume: bool = True,
    kept_features: dict[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Train what ``config`` describes. ``kept_features`` keeps what was decoded, for the next training that needs
    the same.

    ``on_progress`` is called, from a thread of its own, with every epoch that ends.

    The same settings again resume an unfinished run; of a finished one they only renew the card. Raises UsageError
    when the folder holds a model trained by other settings or from another manifest; without ``resume``, any at all.
    """
    started = time.monotonic()
    if "://" in config.out:
        raise UsageError(f"out = {config.out!r}: a model is trained into a folder of this machine; copy it from there.")
    config = _with_absolute_paths(config)
    out = Path(config.out)
    # Where the folders lie changes nothing that is learnt.
    wanted = digest(dataclasses.replace(config, out="", card="", mlflow=None))
    record = _read_record(out)
    if record is not None and not resume:
        raise UsageError(f"{out}: holds a training already; leave out --no-resume, or move that folder away.")
    if record is not None and record["config_digest"] != wanted:
        raise UsageError(
            f"{out}: holds a model trained by other settings ({record['config_digest']}, these are {wanted}); "
            "set another 'out', or move that folder away."
        )
    manifest_sha256 = hashlib.sha256(_manifest_bytes(config)).hexdigest()
    if record is not None and record["manifest_sha256"] != manifest_sha256:
        raise UsageError(
            f"{out}: the training there began with another content of {config.clips.manifest}; set another 'out', or "
            "move that folder away."
        )
    if record is not None and record["finished"]:
        write_card(out, config.card)
        before: dict[str, Any] = record["summary"]
        return before | {"already_finished": True}
    clips = read_clips(config)
    check_enough(config, clips, num_workers)
    record = {
        "config_digest": wanted,
        "finished": False,
        "config": printable_settings(config),
        "code_version": version("emosphere"),
        "manifest_sha256": manifest_sha256,
    }
    with followed(
        out / LOG_NAME,
        num_epochs=config.fit.epochs,
        folds=config.folds,
        on_progress=on_progress,
    ):
        result = _run(config, clips, record, num_workers, {} if kept_features is None else kept_features)
    summary = {
        "name": config.name,
        "out": str(out),
        "epochs": config.fit.epochs,
        "workers": num_workers,
        "already_finished": False,
        "wall_s": round(time.monotonic() - started, 1),
        **result,
    }
    _write_record(out, record | {"finished": True, "summary": summary})
    shutil.rmtree(out / "_training", ignore_errors=True)
    return summary


def _run(
    config: TrainConfig, clips: list[Clip], record: dict[str, Any], num_workers: int, kept_features: dict[str, Any]
) -> dict[str, Any]:
    check_cores(num_workers)
    connect()
    out = Path(config.out)
    cluster = ray.cluster_resources()
    gpus = int(cluster.get("GPU", 0))
    if 0 < gpus < num_workers:
        raise UsageError(f"workers={num_workers}, but the cluster has {gpus} GPUs; each worker takes one.")
    use_gpu = gpus > 0
    room = int(cluster.get("CPU", 1)) - 1
    if not 1 <= num_workers <= room:
        raise UsageError(f"workers={num_workers} must lie in 1..{room}, the CPUs of this cluster less one for Ray.")
    _make_folder(out)
    _write_record(out, record)
    datasets = {}
    if config.clips.hold == "memory":
        same = features_digest(clips, config)
        if same not in kept_features:
            kept_features.clear()
            kept_features[same] = decode_all(clips, config)
        datasets[FEATURES] = kept_features[same]
        errors = unreadable(kept_features[same])
    else:
        errors = unreadable_beforehand(clips)
    record["unreadable"] = [redact(message) for message in _checked(errors, clips, config)]
    _write_record(out, record)
    if config.clips.hold == "stream":
        clips = [clip for row, clip in enumerate(clips) if row not in errors]
    trainer = TorchTrainer(
        train_on_worker,
        train_loop_config={"config": config, "clips": clips},
        # The first rank writes and cross-validates alone, while the others wait for it.
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=ALONE_S),
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        datasets=datasets,
        # Every worker keeps all clips: which of them a batch needs is drawn anew each epoch.
        dataset_config=DataConfig(datasets_to_split=[]),
        run_config=RunConfig(
            # The same name and place again: Ray finds the last reported epoch there and goes on from it.
            name="fit",
            storage_path=str(out / "_training"),
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        _raise_own(error)
        raise MachineError(f"{out}: the training broke off ({error}); the same command resumes it.") from error
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    short = {name: evaluation[name] for name in ("parameters", "region_temperature")}
    return short | {name: short_figures(evaluation[name]) for name in ("cross_validation", "test")}


def check_cores(num_workers: int) -> None:
    """Refuse more workers than this machine has cores, where it is all there is: a local Ray counts some it has not."""
    cores = len(os.sched_getaffinity(0))
    if not os.environ.get("RAY_ADDRESS") and num_workers > cores:
        raise UsageError(f"workers={num_workers}, but this machine has {cores} cores for them; take {cores} or fewer.")


def _raise_own(error: Any) -> None:
    """Raise what a worker reported on purpose, if that was the reason."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, EmosphereError):
            raise cause from error


def _checked(errors: dict[int, str], clips: list[Clip], config: TrainConfig) -> list[str]:
    if len(errors) > config.clips.max_unreadable:
        first = next(iter(errors.values()))
        raise UsageError(
            f"{config.clips.manifest}: {len(errors)} of {len(clips)} clips cannot be read, first: {first} Mend them, "
            "or set clips.max_unreadable to go on without them."
        )
    return [errors[row] for row in sorted(errors)]


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error}); set another 'out'.") from error


def _with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Workers stand in another working directory than the user. Raises UsageError for weights in a store."""
    weights, tracking = config.encoder_weights, config.mlflow
    if weights is not None and "://" in weights:
        raise UsageError(
            f"encoder_weights = {unsigned(weights)!r}: weights are read from a folder of this machine; copy them there."
        )
    return dataclasses.replace(
        config,
        out=str(Path(config.out).absolute()),
        clips=dataclasses.replace(config.clips, manifest=_absolute(config.clips.manifest)),
        encoder_weights=None if weights is None else str(Path(weights).absolute()),
        mlflow=None if tracking is None else _absolute_tracking(tracking),
    )


def _absolute_tracking(address: str) -> str:
    """MLflow's address, a database file or folder of it with its whole path.

    >>> _absolute_tracking("http://tracker:5000"), _absolute_tracking("sqlite:////data/mlflow.db")
    ('http://tracker:5000', 'sqlite:////data/mlflow.db')
    """
    if address.startswith(SQLITE):
        return SQLITE + str(Path(address.removeprefix(SQLITE)).absolute())
    # One word of its own: where Databricks' own settings say.
    return address if address.startswith("databricks") else _absolute(address)


def _manifest_bytes(config: TrainConfig) -> bytes:
    try:
        return locate(config.clips.manifest).read_bytes()
    except OSError as error:
        raise UsageError(f"{config.clips.manifest}: cannot be read as a manifest ({error}).") from error


def _absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).absolute())


def _read_record(out: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((out / RECORD_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def _write_record(out: Path, record: dict[str, Any]) -> None:
    partial = out / f"{RECORD_NAME}.partial"
    partial.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(out / RECORD_NAME)
