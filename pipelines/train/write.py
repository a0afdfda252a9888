"""A trained network -> the checkpoint folder: weights, what they achieve, and the card that quotes it."""

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.clips.batches import Clips
from emosphere.model.checkpoint import save_checkpoint
from emosphere.model.description import AT_WEIGHT_ZERO, CARD_NAME, EVALUATION_NAME, CheckpointConfig
from emosphere.model.network import Network
from emosphere.store import unsigned
from emosphere.tasks.classes import ClassesTask
from emosphere.tasks.rated import RatedTask
from emosphere.training import Answers, answers_for
from pipelines.card.text import card_text
from pipelines.train.config import TrainConfig, settings_without_secrets
from pipelines.train.error_ball import coverage_by_speaker, published_radius
from pipelines.train.report import evaluate, figures_for

LEFT_OUT = ("card", "out", "weights", "mlflow")
"""Settings left out of the evaluation: the card stands beside it, and places are of the machine that trained."""
HELD_OUT_NAME = "held_out.parquet"
"""Answers of the cross-validation, clip by clip."""


@dataclass(frozen=True)
class TrainedModel:
    """What training hands over to be written."""

    network: Network
    """Without auxiliary heads."""
    checkpoint: CheckpointConfig
    clips: Clips
    held_out: list[int]
    """Rows that were left out in one fold each; empty without or before cross-validation."""
    held_out_answers: Answers
    balls: dict[str, dict[str, Any]]
    """By head that answers ratings: ball of error on speakers not learnt from, of :mod:`pipelines.train.error_ball`."""
    figures_at_weight_zero: dict[str, float] | None
    """Epochs until the weight of a falling term was 0, and how well the heads did then, on the clips to choose by."""
    at_weight_zero: Network | None
    """The network as it was then."""


def write_model(config: TrainConfig, trained: TrainedModel) -> None:
    """Write the checkpoint folder ``config.out``. Raises ValueError for a figure that is no number."""
    out = Path(config.out)
    settings = settings_without_secrets(config)
    # What was learnt does not depend on the folders of the machine that trained.
    settings["clips"]["manifest"] = Path(settings["clips"]["manifest"]).name
    cross_validation = None
    if trained.held_out:
        cross_validation = figures_for(
            trained.held_out_answers, trained.clips, trained.held_out, trained.checkpoint.tasks
        )
    evaluation: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "name": config.name,
        **{
            f"{head}_temperature": task.temperature
            for head, task in trained.checkpoint.tasks.items()
            if isinstance(task, ClassesTask)
        },
        "settings": {name: value for name, value in settings.items() if name not in LEFT_OUT},
        "cross_validation": cross_validation,
        "heads_at_weight_zero": trained.figures_at_weight_zero,
        **{
            f"{head}_radius_90": _radius(config, trained, head)
            for head, task in trained.checkpoint.tasks.items()
            if isinstance(task, RatedTask)
        },
    }
    evaluation |= evaluate(
        trained.network,
        trained.clips,
        learnt=config.clips.train,
        kept=config.clips.evaluate,
        chosen_by=config.clips.choose,
    )
    save_checkpoint(trained.network, out, trained.checkpoint, card="")
    if trained.at_weight_zero is not None:
        # `emosphere evaluate` measures the region head here too (design notes 7, point 13b).
        save_checkpoint(trained.at_weight_zero, out / AT_WEIGHT_ZERO, trained.checkpoint, card="")
    if trained.held_out:
        _write_held_out(out, trained)
    (out / EVALUATION_NAME).write_text(json.dumps(evaluation, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_card(config)


def write_card(config: TrainConfig) -> None:
    """Write the card anew from the settings' prose and the evaluation that lies in ``config.out``."""
    out = Path(config.out)
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    tasks = {head: task for head, task in config.tasks.items() if head not in config.auxiliary_heads}
    (out / CARD_NAME).write_text(card_text(config.card, evaluation, tasks), encoding="utf-8")


def _write_held_out(out: Path, trained: TrainedModel) -> None:
    """What the folds' networks answered to the clips they did not learn from: a list of numbers per head and clip."""
    clips = [trained.clips.clips[row] for row in trained.held_out]
    table = pa.table(
        {"uri": [unsigned(clip.uri) for clip in clips], "start_ms": [clip.start_ms for clip in clips]}
        | {name: answers.tolist() for name, answers in trained.held_out_answers.items()}
    )
    pq.write_table(table, out / HELD_OUT_NAME)


def _radius(config: TrainConfig, trained: TrainedModel, head: str) -> dict[str, Any] | None:
    """A head's ball of error, whether the scores carry it, and how often it holds the targets of the test speakers."""
    ball = trained.balls.get(head)
    if ball is None:
        return None
    clips = trained.clips
    rows = [row for row, clip in enumerate(clips.clips) if clip.split in config.clips.evaluate]
    report = ball | {"published": published_radius(ball) is not None}
    if rows and ball["radius"] is not None:
        answers = answers_for(trained.network, clips, rows)[head]
        report["test_coverage"] = coverage_by_speaker(clips, rows, answers, ball["radius"], head)
    return report
