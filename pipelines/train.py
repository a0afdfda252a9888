"""Labelled clips -> a checkpoint folder: Ray Train around emosphere.training."""

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emosphere.config import digest, load_config
from emosphere.data.augment import DistortionConfig
from emosphere.data.spectrum import SpectrumConfig
from emosphere.errors import MachineError, UsageError
from emosphere.model.network import NetworkConfig
from emosphere.training import FitConfig
from pipelines.card import renew_card

RECORD_NAME = "training.json"
"""What was trained, by which settings; it lies beside the checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipsConfig:
    """Which clips."""

    manifest: str
    """CSV table of labelled clips; a relative path counts from the working directory."""
    train: tuple[str, ...] = ("train", "dev")
    """Splits to learn from."""
    evaluate: tuple[str, ...] = ("test",)
    """Splits to report on in the end; nothing is chosen by them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run."""

    name: str
    """Name of the model."""
    licence: str
    """Licence of the weights, which the data may dictate."""
    out: str
    """Folder for the checkpoint."""
    clips: ClipsConfig
    network: NetworkConfig
    fit: FitConfig = field(default_factory=FitConfig)
    distortion: DistortionConfig | None = None
    """Distorted copies of each clip; none when absent."""
    spectrum: SpectrumConfig | None = None
    """Random changes to heard frames; none when absent."""
    encoder_weights: str | None = None
    """Folder of published weights for a self-supervised encoder; None starts from random ones."""
    folds: int = 0
    """When set, first cross-validate over speakers in so many folds; it also calibrates the region probabilities."""
    evaluate_every: int = 0
    """Epochs between figures on the held-out clips of a fold; 0 gives them at the end only."""
    seed: int = 0
    auxiliary_heads: tuple[str, ...] = ()
    """Heads that serve training only and are left out of the checkpoint."""
    card: str = ""
    """Text of the model card; ``{figures}`` in it is replaced by the tables of what was measured."""

    def __post_init__(self) -> None:
        if self.folds == 1 or self.folds < 0:
            raise ValueError(f"folds={self.folds} must be 0 (none) or at least 2.")
        unknown = set(self.auxiliary_heads) - (self.network.heads.keys() - {"vad", "region"})
        if unknown:
            raise ValueError(f"auxiliary_heads names {sorted(unknown)}, which network.heads does not have to spare.")


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
        renew_card(out, config.card)
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

    from pipelines.evaluation import short_figures
    from pipelines.resources import connect
    from pipelines.train_loop import train_on_worker

    connect()
    room = int(ray.cluster_resources().get("CPU", 1)) - 1
    if not 1 <= num_workers <= room:
        raise UsageError(f"workers={num_workers} must lie in 1..{room}, the CPUs of this cluster less one for Ray.")
    trainer = TorchTrainer(
        train_on_worker,
        train_loop_config={"config": config, "out": str(out)},
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
    return short_figures(out)


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
    from emosphere.data.labels import read_manifest

    clips = read_manifest(config.clips.manifest, num_regions=config.network.num_regions or 8)
    splits = {clip.split for clip in clips}
    for split in (*config.clips.train, *config.clips.evaluate):
        if split not in splits:
            raise UsageError(
                f"{config.clips.manifest}: has no split {split!r}, only {', '.join(sorted(splits))}; see [clips]."
            )
    absent = [clip.path for clip in clips if not clip.path.is_file()]
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
