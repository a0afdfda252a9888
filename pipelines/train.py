"""Labelled clips -> a checkpoint folder: Ray Train around emosphere.training."""

import dataclasses
import datetime
import json
import shutil
import time
from pathlib import Path
from typing import Any

from emosphere.config import digest, load_config, to_mapping
from emosphere.errors import MachineError, UsageError
from emosphere.model.checkpoint import CARD_NAME, save_checkpoint
from pipelines.card import card_text
from pipelines.evaluation import evaluate, figures_for, short_figures
from pipelines.train_loop import TrainConfig, Trained, train_on_worker

RECORD_NAME = "training.json"
"""What was trained, by which settings; it lies beside the checkpoint."""
UNTOLD = ("card", "out", "encoder_weights")
"""Settings left out of the evaluation: the card stands beside it, and folders are of the machine that trained."""
EVALUATION_NAME = "evaluation.json"
"""What the model achieved; its card quotes from here."""


def train(config_path: Path, *, num_workers: int = 1) -> dict[str, Any]:
    """Train what ``config_path`` describes; returns a JSON-ready summary.

    The same settings again resume an unfinished run; of a finished one they only renew the card. Raises UsageError
    when the folder holds a model trained by other settings.
    """
    started = time.monotonic()
    config = _with_absolute_paths(load_config(TrainConfig, config_path))
    out = Path(config.out)
    # Where the folders lie changes nothing that is learnt.
    wanted = digest(dataclasses.replace(config, out="", card=""))
    record = _read_record(out)
    if record is not None and record["config_digest"] != wanted:
        raise UsageError(
            f"{out}: holds a model trained by other settings ({record['config_digest']}, these are {wanted}); "
            "set another 'out', or move that folder away."
        )
    if record is not None and record["finished"]:
        _write_card(out, config.card)
        return record["summary"] | {"already_finished": True}
    _check_clips(config)
    out.mkdir(parents=True, exist_ok=True)
    _write_record(out, {"config_digest": wanted, "finished": False, "config": dataclasses.asdict(config)})
    result = _run(config, out, num_workers)
    summary = {
        "name": config.name,
        "out": str(out),
        "epochs": config.fit.epochs,
        "workers": num_workers,
        "already_finished": False,
        "wall_s": round(time.monotonic() - started, 1),
        **result,
    }
    finished = {"config_digest": wanted, "finished": True, "config": dataclasses.asdict(config), "summary": summary}
    _write_record(out, finished)
    shutil.rmtree(out / "_training", ignore_errors=True)
    return summary


def _run(config: TrainConfig, out: Path, num_workers: int) -> dict[str, Any]:
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from pipelines.resources import connect

    connect()
    room = int(ray.cluster_resources().get("CPU", 1)) - 1
    if not 1 <= num_workers <= room:
        raise UsageError(f"workers={num_workers} must lie in 1..{room}, the CPUs of this cluster less one for Ray.")
    trainer = TorchTrainer(
        train_on_worker,
        train_loop_config={"config": config, "write": write_model},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=False),
        run_config=RunConfig(
            # The same name and place again: Ray finds the last reported epoch there and goes on from it.
            name="fit",
            storage_path=str(out / "_training"),
            failure_config=FailureConfig(max_failures=1),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise MachineError(f"{out}: the training broke off ({error}); the same command resumes it.") from error
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    short = {name: evaluation[name] for name in ("parameters", "region_temperature")}
    return short | {name: short_figures(evaluation[name]) for name in ("cross_validation", "test")}


def write_model(config: TrainConfig, trained: Trained) -> None:
    """Write the checkpoint folder: weights, what they achieve, and the card that quotes it."""
    out, num_regions = Path(config.out), config.network.num_regions or 8
    settings = to_mapping(config)
    # What was learnt does not depend on the folders of the machine that trained.
    settings["clips"]["manifest"] = Path(config.clips.manifest).name
    evaluation: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "name": config.name,
        "region_temperature": trained.checkpoint.region_temperature,
        "settings": {name: value for name, value in settings.items() if name not in UNTOLD},
        "cross_validation": figures_for(trained.held_out_answers, trained.heard, trained.held_out, num_regions)
        if trained.held_out
        else None,
    }
    evaluation |= evaluate(
        trained.network,
        trained.heard,
        learnt=config.clips.train,
        kept=config.clips.evaluate,
        num_regions=num_regions,
    )
    save_checkpoint(trained.network, out, trained.checkpoint, card="")
    (out / EVALUATION_NAME).write_text(json.dumps(evaluation, indent=1) + "\n", encoding="utf-8")
    _write_card(out, config.card)


def _write_card(out: Path, prose: str) -> None:
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    (out / CARD_NAME).write_text(card_text(prose, evaluation), encoding="utf-8")


def _with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Workers stand in another working directory than the user."""
    weights = config.encoder_weights
    return dataclasses.replace(
        config,
        out=str(Path(config.out).absolute()),
        clips=dataclasses.replace(config.clips, manifest=str(Path(config.clips.manifest).absolute())),
        encoder_weights=None if weights is None else str(Path(weights).absolute()),
    )


def _check_clips(config: TrainConfig) -> None:
    from emosphere.data.manifest import read_manifest

    clips = read_manifest(config.clips.manifest, num_regions=config.network.num_regions or 8)
    splits = {clip.split for clip in clips}
    for split in (*config.clips.train, *config.clips.evaluate):
        if split not in splits:
            raise UsageError(
                f"{config.clips.manifest}: has no split {split!r}, only {', '.join(sorted(splits))}; see [clips]."
            )
    absent = [clip.uri for clip in clips if "://" not in clip.uri and not Path(clip.uri).is_file()]
    if absent:
        raise UsageError(f"{config.clips.manifest}: {len(absent)} of its files are missing, first {absent[0]}.")


def _read_record(out: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((out / RECORD_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def _write_record(out: Path, record: dict[str, Any]) -> None:
    partial = out / f"{RECORD_NAME}.partial"
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(out / RECORD_NAME)
