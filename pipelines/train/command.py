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
from emosphere.store import locate
from pipelines.cluster.ray_cluster import connect
from pipelines.train.absolute_paths import with_absolute_paths
from pipelines.train.config import TrainConfig, settings_without_secrets
from pipelines.train.features import FeatureCache, probe_clips, unreadable_clips
from pipelines.train.log import LOG_NAME
from pipelines.train.progress import OnProgress, followed
from pipelines.train.record import check_manifest, check_settings, read_record, write_record
from pipelines.train.report import short_figures
from pipelines.train.training_clips import check_enough, read_clips
from pipelines.train.worker import FEATURES, train_on_worker
from pipelines.train.write import write_card

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
    feature_cache: FeatureCache | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Train what ``config`` describes; returns a JSON-ready summary.

    ``feature_cache``: where decoded clips come from; None decodes them for this training alone. ``on_progress`` is
    called, from a thread of its own, with every epoch that ends.

    The same settings again resume an unfinished run; of a finished one they only renew the card. Raises UsageError
    when the folder holds a model trained by other settings or from another manifest; without ``resume``, any at all.
    """
    started = time.monotonic()
    config = with_absolute_paths(config)
    out = Path(config.out)
    # Where the folders lie changes nothing that is learnt.
    config_digest = digest(dataclasses.replace(config, out="", card="", mlflow=None))
    record = read_record(out)
    if record is not None:
        check_settings(record, out, config_digest, resume=resume)
    manifest_sha256 = hashlib.sha256(_manifest_bytes(config)).hexdigest()
    if record is not None:
        check_manifest(record, out, config.clips.manifest, manifest_sha256)
        if record["finished"]:
            write_card(config)
            before: dict[str, Any] = record["summary"]
            return before | {"already_finished": True}
    clips = read_clips(config)
    check_enough(config, clips, num_workers)
    record = {
        "config_digest": config_digest,
        "finished": False,
        "config": settings_without_secrets(config),
        "code_version": version("emosphere"),
        "manifest_sha256": manifest_sha256,
    }
    with followed(out / LOG_NAME, num_epochs=config.fit.epochs, folds=config.folds, on_progress=on_progress):
        unreadable, figures = _run(config, clips, record, num_workers, feature_cache or FeatureCache())
    summary = {
        "name": config.name,
        "out": str(out),
        "epochs": config.fit.epochs,
        "workers": num_workers,
        "already_finished": False,
        "wall_s": round(time.monotonic() - started, 1),
        **figures,
    }
    write_record(out, record | {"unreadable": unreadable, "finished": True, "summary": summary})
    shutil.rmtree(out / "_training", ignore_errors=True)
    return summary


def _run(
    config: TrainConfig, clips: list[Clip], record: dict[str, Any], num_workers: int, feature_cache: FeatureCache
) -> tuple[list[str], dict[str, Any]]:
    """Train on the cluster, with ``record`` in the folder meanwhile; messages about unreadable clips, and figures."""
    check_cores(num_workers)
    connect()
    use_gpu = _check_cluster(num_workers)
    out = Path(config.out)
    _make_folder(out)
    write_record(out, record)
    datasets = {}
    if config.clips.hold == "memory":
        datasets[FEATURES] = feature_cache.features(clips, config)
        errors = unreadable_clips(datasets[FEATURES])
    else:
        errors = probe_clips(clips)
    _check_unreadable(errors, clips, config)
    unreadable = [redact(errors[row]) for row in sorted(errors)]
    write_record(out, record | {"unreadable": unreadable})
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
    except SystemExit:
        # Ray Train handles Ctrl-C itself: it ends its workers, then the process, without a word.
        raise KeyboardInterrupt from None
    except TrainingFailedError as error:
        _raise_own(error)
        raise MachineError(f"{out}: the training broke off ({error}); the same command resumes it.") from error
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    short = {name: value for name, value in evaluation.items() if name == "parameters" or name.endswith("_temperature")}
    return unreadable, short | {name: short_figures(evaluation[name]) for name in ("cross_validation", "test")}


def check_cores(num_workers: int) -> None:
    """Refuse more workers than this machine has cores, where it is all there is: a local Ray counts some it has not."""
    cores = len(os.sched_getaffinity(0))
    if not os.environ.get("RAY_ADDRESS") and num_workers > cores:
        raise UsageError(f"workers={num_workers}, but this machine has {cores} cores for them; take {cores} or fewer.")


def _check_cluster(num_workers: int) -> bool:
    """Whether the workers train on GPUs. Raises UsageError where the cluster has no room for so many."""
    cluster = ray.cluster_resources()
    gpus = int(cluster.get("GPU", 0))
    if 0 < gpus < num_workers:
        raise UsageError(f"workers={num_workers}, but the cluster has {gpus} GPUs; each worker takes one.")
    room = int(cluster.get("CPU", 1)) - 1
    if not 1 <= num_workers <= room:
        raise UsageError(f"workers={num_workers} must lie in 1..{room}, the CPUs of this cluster less one for Ray.")
    return gpus > 0


def _raise_own(error: Any) -> None:
    """Raise what a worker reported on purpose, if that was the reason."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, EmosphereError):
            raise cause from error


def _check_unreadable(errors: dict[int, str], clips: list[Clip], config: TrainConfig) -> None:
    if len(errors) > config.clips.max_unreadable:
        first = next(iter(errors.values()))
        raise UsageError(
            f"{config.clips.manifest}: {len(errors)} of {len(clips)} clips cannot be read, first: {first} Mend them, "
            "or set clips.max_unreadable to go on without them."
        )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error}); set another 'out'.") from error


def _manifest_bytes(config: TrainConfig) -> bytes:
    try:
        return locate(config.clips.manifest).read_bytes()
    except OSError as error:
        raise UsageError(f"{config.clips.manifest}: cannot be read as a manifest ({error}).") from error
