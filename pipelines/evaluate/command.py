"""Labelled clips + a model (or two) -> evaluation.json, predictions.parquet and a page. Needs no Ray."""

import datetime
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from emosphere.clips.manifest import Clip, read_manifest
from emosphere.errors import UsageError
from emosphere.evaluation.answered import AnsweredClips, refuse_useless
from emosphere.evaluation.compare import compare
from emosphere.evaluation.figures import figures_of, meanings, slice_figures
from emosphere.evaluation.page import page
from emosphere.evaluation.predict_clips import ClipPredictions, predict_clips
from emosphere.evaluation.predictions import predictions_parquet
from emosphere.evaluation.slices import slices
from emosphere.inference import default_device
from emosphere.model.checkpoint import Checkpoint, load_checkpoint
from emosphere.model.description import AT_WEIGHT_ZERO, EVALUATION_NAME, WEIGHTS_NAME
from emosphere.model.find import find_model
from emosphere.model.predict import Predictor
from emosphere.redaction import redact
from emosphere.store import Location, locate, unsigned
from emosphere.tasks import questions
from emosphere.tasks.rated import RatedTask
from emosphere.tasks.region import num_regions
from pipelines.card.figure_tables import MEASURED

BATCH_S: Final = {"cpu": 40.0, "cuda": 320.0}
"""Seconds of audio that go through a network at once; changes no figure."""


class Model(NamedTuple):
    """A model under evaluation, on its device."""

    name: str
    """As the user called it."""
    checkpoint: Checkpoint
    predictor: Predictor
    at_weight_zero: Predictor | None

    @property
    def description(self) -> dict[str, Any]:
        """What evaluation.json says of it."""
        tasks = self.checkpoint.config.tasks
        return {
            "given": unsigned(self.name),
            "name": self.checkpoint.name,
            "digest": self.checkpoint.digest,
            "licence": self.checkpoint.licence,
            "num_regions": num_regions(tasks),
            "max_clip_s": self.checkpoint.config.max_clip_s,
        } | {
            f"{head}_radius_90": task.radius_90
            for head, task in questions(tasks).items()
            if isinstance(task, RatedTask)
        }


def evaluate(
    model: str,
    manifest: str,
    *,
    split: str,
    out: str,
    against: str | None = None,
    num_bootstrap: int = 2000,
    seed: int = 0,
    max_unreadable: int = 0,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Evaluate ``model`` on a split of ``manifest``; returns a JSON-ready summary.

    Raises UsageError when the split is empty, ``out`` holds a model, an answer is NaN or all answers are the same.
    """
    started = time.monotonic()
    folder = locate(out)
    if folder.child(WEIGHTS_NAME).exists():
        raise UsageError(f"{out}: holds a model, whose evaluation.json tells of its training; give another --out.")
    models = [_load(name) for name in (model, against) if name is not None]
    clips = _clips_of_split(manifest, split)
    if dry_run:
        return _dry_run_summary(models, clips, manifest, split)
    predictors = [loaded.predictor for loaded in models]
    predictors += [loaded.at_weight_zero for loaded in models if loaded.at_weight_zero]
    predicted = predict_clips(clips, predictors, max_unreadable=max_unreadable, num_threads=min(4, os.cpu_count() or 1))
    if not predicted.clips:
        raise UsageError(f"{manifest}: none of the {len(clips)} clips of split {split!r} can be read.")
    answered = _answers(models, predicted)
    for loaded, answers in zip(models, answered, strict=True):
        refuse_useless(answers, model=loaded.name, split=split)
    evaluation = _evaluation(models, answered, predicted, num_draws=num_bootstrap, seed=seed) | {
        "manifest": unsigned(manifest),
        "split": split,
    }
    _write(folder, evaluation, answered)
    return _summary(evaluation, answered[0]) | {"out": unsigned(out), "wall_s": round(time.monotonic() - started, 1)}


def _load(name: str) -> Model:
    folder, device = find_model(name, whole=True), default_device()
    batch_s = BATCH_S[device]
    checkpoint = load_checkpoint(folder)
    at_weight_zero = Path(folder) / AT_WEIGHT_ZERO
    return Model(
        name,
        checkpoint,
        Predictor(checkpoint, device=device, batch_s=batch_s),
        Predictor(load_checkpoint(at_weight_zero), device=device, batch_s=batch_s) if at_weight_zero.is_dir() else None,
    )


def _clips_of_split(manifest: str, split: str) -> list[Clip]:
    clips = read_manifest(manifest)
    of_split = [clip for clip in clips if clip.split == split]
    if len(of_split) < 2:
        sizes = Counter(clip.split for clip in clips)
        splits = ", ".join(f"{name} ({sizes[name]})" for name in sorted(sizes))
        raise UsageError(f"{manifest}: split {split!r} has {len(of_split)} clips, wanted at least 2; it has {splits}.")
    return of_split


def _answers(models: list[Model], predicted: ClipPredictions) -> list[AnsweredClips]:
    """Per model; ``predicted`` has a prediction of each, then one of each network at weight zero."""
    predictions = iter(predicted.predictions)
    of_models = [next(predictions) for _ in models]
    return [
        AnsweredClips(
            clips=predicted.clips,
            duration_s=predicted.duration_s,
            level_db=predicted.level_db,
            tasks=model.checkpoint.config.tasks,
            answers=answers,
            at_weight_zero=next(predictions) if model.at_weight_zero else None,
        )
        for model, answers in zip(models, of_models, strict=True)
    ]


def _evaluation(
    models: list[Model], answered: list[AnsweredClips], predicted: ClipPredictions, *, num_draws: int, seed: int
) -> dict[str, Any]:
    first = answered[0]
    compared = compare(first, answered[1], num_draws=num_draws, seed=seed) if len(answered) > 1 else None

    def figures_by_name(parts: dict[str, list[int]]) -> dict[str, Any]:
        return {name: slice_figures(first.take(rows), num_draws=num_draws, seed=seed) for name, rows in parts.items()}

    return {
        "format": MEASURED,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "model": models[0].description,
        "against": models[1].description if len(models) > 1 else None,
        "clips": {
            "listed": len(predicted.clips) + len(predicted.unreadable),
            "evaluated": len(predicted.clips),
            "weak": _num_weak(models, predicted.clips),
            "cut": predicted.num_cut,
            "audio_s": round(float(predicted.duration_s.sum()), 1),
            "unreadable": [
                {"uri": unsigned(clip.uri), "error": redact(message)} for clip, message in predicted.unreadable
            ],
        },
        "bootstrap": {"draws": num_draws, "seed": seed, "over": "speakers", "interval": "percentile, 95 %"},
        "meanings": meanings(first),
        "overall": figures_of(first, num_draws=num_draws, seed=seed),
        "slices": {kind: figures_by_name(parts) for kind, parts in slices(first).items()},
        "against_overall": figures_of(answered[1], num_draws=num_draws, seed=seed) if len(answered) > 1 else None,
        "comparison": compared,
    }


def _write(folder: Location, evaluation: dict[str, Any], answered: list[AnsweredClips]) -> None:
    """The JSON comes last: where it lies, all is there."""
    folder.child("predictions.parquet").write_bytes(predictions_parquet(answered[0]))
    if len(answered) > 1:
        folder.child("predictions_against.parquet").write_bytes(predictions_parquet(answered[1]))
    folder.child("index.html").write_bytes(page(evaluation, answered[0]).encode())
    text = json.dumps(evaluation, indent=1, allow_nan=False, ensure_ascii=False)
    folder.child(EVALUATION_NAME).write_bytes(f"{text}\n".encode())


def _summary(evaluation: dict[str, Any], answered: AnsweredClips) -> dict[str, Any]:
    figures, comparison = evaluation["overall"]["figures"], evaluation["comparison"]
    classes = {way: task.noun for head, task in answered.classified.items() for way in task.ways(head)}
    against = None
    if comparison is not None:
        name = f"{evaluation['against']['name']}-{evaluation['against']['digest']}"
        against = {"model": name, **{figure: comparison.get(figure, {}) for figure in ("ccc", "uar")}}
    return {
        "model": f"{evaluation['model']['name']}-{evaluation['model']['digest']}",
        "split": evaluation["split"],
        "clips": evaluation["clips"]["evaluated"],
        "speakers": evaluation["overall"]["speakers"],
        "weak": evaluation["clips"]["weak"],
        "unreadable": [clip["uri"] for clip in evaluation["clips"]["unreadable"]],
        "ccc": figures["ccc"],
        "uar": figures["uar"],
        "classes": classes,
        "against": against,
    }


def _num_weak(models: list[Model], clips: Sequence[Clip]) -> int:
    """Clips whose targets are those of a word; 0 where the models answer nothing that has such targets."""
    is_concerned = any(task.has_weak_targets for model in models for task in model.checkpoint.config.tasks.values())
    return sum(clip.weak for clip in clips) if is_concerned else 0


def _dry_run_summary(models: list[Model], clips: list[Clip], manifest: str, split: str) -> dict[str, Any]:
    lengths = [clip.duration_ms for clip in clips]
    absent = [clip.uri for clip in clips if "://" not in clip.uri and not Path(clip.uri).is_file()]
    return {
        "dry_run": True,
        "models": [f"{model.checkpoint.name}-{model.checkpoint.digest}" for model in models],
        "manifest": unsigned(manifest),
        "split": split,
        "clips": len(clips),
        "speakers": len({clip.speaker for clip in clips}),
        "weak": _num_weak(models, clips),
        "audio_s": round(sum(length for length in lengths if length is not None) / 1000, 1),
        "clips_of_unknown_length": sum(length is None for length in lengths),
        "missing": absent,
    }
