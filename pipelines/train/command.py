"""Labelled clips -> a checkpoint folder: emosphere.training on Ray Train, or, where little is learnt, right here."""

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from emosphere.clips.manifest import Clip
from emosphere.config import digest, load_config
from emosphere.errors import EmosphereError, MachineError, UsageError
from emosphere.model.description import EVALUATION_NAME
from emosphere.redaction import redact
from emosphere.store import locate
from pipelines.cluster.host import CLUSTER_VARIABLES, num_gpus
from pipelines.train.absolute_paths import with_absolute_paths
from pipelines.train.config import TrainConfig, settings_without_secrets
from pipelines.train.features import FeatureCache, probe_clips, unreadable_clips
from pipelines.train.log import LOG_NAME
from pipelines.train.place import FOLDER_NAME, RAY_NAME, OwnProcess
from pipelines.train.progress import OnProgress, followed
from pipelines.train.record import check_manifest, check_settings, read_record, write_record
from pipelines.train.report import short_figures
from pipelines.train.training_clips import check_enough, read_clips
from pipelines.train.worker import Worker
from pipelines.train.write import write_card

log = logging.getLogger("emosphere")

FEW_CLIPS = 1000
"""So many one process has decoded by the time that Ray is up."""


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
    shutil.rmtree(out / FOLDER_NAME, ignore_errors=True)
    return summary


def _run(
    config: TrainConfig, clips: list[Clip], record: dict[str, Any], num_workers: int, feature_cache: FeatureCache
) -> tuple[list[str], dict[str, Any]]:
    """Train, with ``record`` in the folder meanwhile; messages about unreadable clips, and figures."""
    check_cores(num_workers)
    here, reason = trains_here(config, clips, num_workers)
    log.info("engine: %s, since %s", "in-process" if here else "Ray", reason)
    use_gpu = False
    if not here:
        # Not before it is needed: importing Ray takes seconds.
        from pipelines.train.on_ray import fit_on_ray, join_cluster

        use_gpu = join_cluster(num_workers)
    out = Path(config.out)
    _make_folder(out)
    write_record(out, record)
    features = None
    if config.clips.hold == "memory":
        features = feature_cache.features(clips, config, here=here)
        errors = unreadable_clips(features)
    else:
        errors = probe_clips(clips)
    _check_unreadable(errors, clips, config)
    unreadable = [redact(errors[row]) for row in sorted(errors)]
    write_record(out, record | {"unreadable": unreadable})
    if config.clips.hold == "stream":
        clips = [clip for row, clip in enumerate(clips) if row not in errors]
    if here:
        _fit_here(config, clips, features)
    else:
        fit_on_ray(config, clips, features, num_workers=num_workers, use_gpu=use_gpu)
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    short = {name: value for name, value in evaluation.items() if name == "parameters" or name.endswith("_temperature")}
    return unreadable, short | {name: short_figures(evaluation[name]) for name in ("cross_validation", "test")}


def trains_here(config: TrainConfig, clips: list[Clip], num_workers: int) -> tuple[bool, str]:
    """Whether the command's own process is the only worker, and why or why not. What it learns is the same."""
    if named := next(filter(os.environ.get, CLUSTER_VARIABLES), None):
        return False, f"{named} names a cluster"
    if num_workers != 1:
        return False, f"{num_workers} workers were asked for"
    if (Path(config.out) / FOLDER_NAME / RAY_NAME).exists():
        return False, "a training that it has not finished is there"
    if num_gpus():
        return False, "this machine has a GPU"
    if config.clips.hold != "memory" or any("://" in clip.uri for clip in clips):
        return False, "clips are streamed or lie in a store"
    if len(clips) * config.num_versions > FEW_CLIPS:
        return False, f"more than {FEW_CLIPS} clips are decoded on all cores"
    return True, "a single worker has few clips to decode"


def _fit_here(config: TrainConfig, clips: list[Clip], features: Any) -> None:
    num_threads = torch.get_num_threads()
    try:
        Worker(config, clips, features, OwnProcess(Path(config.out))).run()
    except EmosphereError:
        raise
    except Exception as error:
        raise MachineError(f"{config.out}: the training broke off ({error}); the same command resumes it.") from error
    finally:
        torch.set_num_threads(num_threads)


def check_cores(num_workers: int) -> None:
    """Refuse more workers than this machine has cores, where it is all there is: a local Ray counts some it has not."""
    cores = len(os.sched_getaffinity(0))
    if not os.environ.get("RAY_ADDRESS") and num_workers > cores:
        raise UsageError(f"workers={num_workers}, but this machine has {cores} cores for them; take {cores} or fewer.")


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
