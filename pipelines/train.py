"""Labelled clips -> a checkpoint folder: Ray Train around emosphere.training."""

import dataclasses
import datetime
import hashlib
import json
import logging
import math
import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.config import digest, load_config
from emosphere.data.epoch import num_batches
from emosphere.data.manifest import Clip, read_manifest
from emosphere.errors import EmosphereError, MachineError, UsageError
from emosphere.geometry import REGION_NAMES
from emosphere.model.checkpoint import AT_WEIGHT_ZERO, CARD_NAME, EVALUATION_NAME, save_checkpoint
from emosphere.redaction import redact
from emosphere.store import locate, unsigned
from emosphere.training import answers_for
from pipelines.calibration import coverage_by_speaker
from pipelines.card import card_text
from pipelines.evaluation import evaluate, figures_for, short_figures
from pipelines.train_config import TrainConfig, told_settings
from pipelines.train_log import LOG_NAME
from pipelines.train_loop import HEARD, Trained, train_on_worker
from pipelines.train_progress import OnProgress, followed

log = logging.getLogger("emosphere")

RECORD_NAME = "training.json"
"""What was trained, by which settings; it lies beside the checkpoint."""
UNTOLD = ("card", "out", "encoder_weights", "mlflow")
"""Settings left out of the evaluation: the card stands beside it, and places are of the machine that trained."""
SQLITE = "sqlite:///"
"""What MLflow's address begins with where a file of this machine, from the working directory, is the database."""
ALONE_S = 6 * 3600
"""How long a rank may work alone before the others give it up."""
HELD_OUT_NAME = "held_out.parquet"
"""Answers of the cross-validation, clip by clip."""


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
    heard: dict[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Train what ``config`` describes. ``heard`` keeps the decoded clips for the next training that hears the same.

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
        _write_card(out, config.card)
        return record["summary"] | {"already_finished": True}
    clips = _read_clips(config)
    _check_enough(config, clips, num_workers)
    record = {
        "config_digest": wanted,
        "finished": False,
        "config": told_settings(config),
        "code_version": version("emosphere"),
        "manifest_sha256": manifest_sha256,
    }
    with followed(out / LOG_NAME, num_epochs=config.fit.epochs, folds=config.folds, on_progress=on_progress):
        result = _run(config, clips, record, num_workers, {} if heard is None else heard)
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
    config: TrainConfig, clips: list[Clip], record: dict[str, Any], num_workers: int, heard: dict[str, Any]
) -> dict[str, Any]:
    import ray
    from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from pipelines.hearing import hear_all, unreadable, unreadable_beforehand, what_is_heard
    from pipelines.resources import connect

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
        same = what_is_heard(clips, config)
        if same not in heard:
            heard.clear()
            heard[same] = hear_all(clips, config)
        datasets[HEARD] = heard[same]
        errors = unreadable(heard[same])
    else:
        errors = unreadable_beforehand(clips)
    record["unreadable"] = [redact(message) for message in _checked(errors, clips, config)]
    _write_record(out, record)
    if config.clips.hold == "stream":
        clips = [clip for row, clip in enumerate(clips) if row not in errors]
    trainer = TorchTrainer(
        train_on_worker,
        train_loop_config={"config": config, "clips": clips, "write": write_model},
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


def write_model(config: TrainConfig, trained: Trained) -> None:
    """Write the checkpoint folder: weights, what they achieve, and the card that quotes it."""
    out, num_regions = Path(config.out), config.num_regions
    settings = told_settings(config)
    # What was learnt does not depend on the folders of the machine that trained.
    settings["clips"]["manifest"] = Path(settings["clips"]["manifest"]).name
    evaluation: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "name": config.name,
        "region_temperature": trained.checkpoint.region_temperature,
        "settings": {name: value for name, value in settings.items() if name not in UNTOLD},
        "cross_validation": figures_for(trained.held_out_answers, trained.clips, trained.held_out, num_regions)
        if trained.held_out
        else None,
        "region_head_at_rest": trained.region_head_at_rest,
        "vad_radius_90": _radius(config, trained),
    }
    evaluation |= evaluate(
        trained.network,
        trained.clips,
        learnt=config.clips.train,
        kept=config.clips.evaluate,
        chosen_by=config.clips.choose,
        num_regions=num_regions,
    )
    save_checkpoint(trained.network, out, trained.checkpoint, card="")
    if trained.at_rest is not None:
        # `emosphere evaluate` measures the region head here too (design notes 7, point 13b).
        save_checkpoint(trained.at_rest, out / AT_WEIGHT_ZERO, trained.checkpoint, card="")
    if trained.held_out:
        _write_held_out(out, trained)
    (out / EVALUATION_NAME).write_text(json.dumps(evaluation, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _write_card(out, config.card)


def _write_held_out(out: Path, trained: Trained) -> None:
    """What the folds' networks answered to the clips they never heard: a list of numbers per head and clip."""
    clips = [trained.clips.clips[row] for row in trained.held_out]
    table = pa.table(
        {"uri": [unsigned(clip.uri) for clip in clips], "start_ms": [clip.start_ms for clip in clips]}
        | {name: answers.tolist() for name, answers in trained.held_out_answers.items()}
    )
    pq.write_table(table, out / HELD_OUT_NAME)


def _radius(config: TrainConfig, trained: Trained) -> dict[str, Any] | None:
    """The ball of error, whether the scores carry it, and how often it holds the targets of the test speakers."""
    if trained.ball is None:
        return None
    clips = trained.clips
    rows = [row for row, clip in enumerate(clips.clips) if clip.split in config.clips.evaluate]
    report = trained.ball | {"published": trained.checkpoint.vad_radius_90 is not None}
    if rows and trained.ball["radius"] is not None:
        answers = answers_for(trained.network, clips, rows)
        report["test_coverage"] = coverage_by_speaker(clips, rows, answers, trained.ball["radius"])
    return report


def _write_card(out: Path, prose: str) -> None:
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    (out / CARD_NAME).write_text(card_text(prose, evaluation), encoding="utf-8")


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


def _read_clips(config: TrainConfig) -> list[Clip]:
    """The clips this run learns from or reports on, and those whose ratings weak labels can be held against."""
    clips = read_manifest(config.clips.manifest, num_regions=config.num_regions)
    splits = {clip.split for clip in clips}
    wanted = {*config.clips.train, *config.clips.choose, *config.clips.calibrate, *config.clips.evaluate}
    for split in sorted(wanted - splits):
        raise UsageError(
            f"{config.clips.manifest}: has no split {split!r}, only {', '.join(sorted(splits))}; see [clips]."
        )
    unrated = [clip for clip in clips if clip.split in wanted and any(map(math.isnan, clip.vad))]
    if unrated:
        raise UsageError(
            f"{config.clips.manifest}: {len(unrated)} clips of the splits in use lack a rating of valence, arousal or "
            f"dominance, first {unrated[0].uri}."
        )
    # Ratings of other splits only serve to hold weak labels against.
    rated_too = any(clip.weak for clip in clips if clip.split in wanted)
    used = [
        clip for clip in clips if (clip.split in wanted or (rated_too and not clip.weak)) and _is_wanted(clip, config)
    ]
    if config.clips.without_category == "learn" and all(clip.category is not None for clip in clips):
        log.warning("%s: every clip has a category, so without_category changes nothing", config.clips.manifest)
    absent = [clip.uri for clip in used if "://" not in clip.uri and not Path(clip.uri).is_file()]
    if len(absent) > config.clips.max_unreadable:
        raise UsageError(f"{config.clips.manifest}: {len(absent)} of its files are missing, first {absent[0]}.")
    return used


def _check_enough(config: TrainConfig, clips: list[Clip], num_workers: int) -> None:
    """Refuse what would train on nothing: concordance needs two clips of each worker."""
    learnt = [clip for clip in clips if clip.split in config.clips.train]
    smallest_batch = len(learnt) // max(num_batches(len(learnt), config.fit.batch_size), 1)
    if smallest_batch < 2 * num_workers:
        raise UsageError(
            f"{len(learnt)} clips to learn from in batches of {config.fit.batch_size} give {num_workers} workers less "
            "than two clips each: take fewer workers, a larger fit.batch_size or more clips."
        )
    _check_classes(config, clips, learnt)
    speakers = {clip.speaker for clip in learnt}
    if config.folds > len(speakers):
        raise UsageError(f"folds={config.folds}, but only {len(speakers)} people speak in the clips to learn from.")


def _check_classes(config: TrainConfig, clips: list[Clip], learnt: list[Clip]) -> None:
    """Refuse a category head that nothing teaches; warn of the classes that no clip does, and what follows."""
    heads, where = config.network.heads, config.clips.manifest
    found = {clip.category for clip in learnt}
    absent = [word for word in config.clips.categories if word not in found]
    if "category" in heads and len(absent) == len(config.clips.categories):
        words = ", ".join(sorted(word for word in found if word)) or "none"
        raise UsageError(
            f"{where}: no clip to learn from has one of clips.categories, {', '.join(absent)} (found: {words}), so "
            "nothing teaches the category head; name the corpus's words, or leave the head out."
        )
    if "category" in heads and absent:
        log.warning("%s: no clip to learn from teaches the categories %s", where, ", ".join(absent))
    if "region" not in heads:
        return
    names = REGION_NAMES[config.num_regions]
    cells = {clip.region for clip in learnt}
    if empty := [name for index, name in enumerate(names) if index not in cells]:
        log.warning("%s: no clip to learn from teaches the regions %s", where, ", ".join(empty))
    if config.clips.calibrate and all(clip.region < 0 for clip in clips if clip.split in config.clips.calibrate):
        log.warning("%s: no clip of clips.calibrate has a region; region_prob will not be calibrated", where)


def _is_wanted(clip: Clip, config: TrainConfig) -> bool:
    """Whether the clip's category, or its lack of one, admits it."""
    if clip.category is not None or config.clips.without_category == "keep":
        return True
    return config.clips.without_category == "learn" and clip.split in config.clips.train


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
