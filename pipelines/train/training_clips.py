"""The clips of one training, and what is refused before anything starts."""

import logging
from pathlib import Path

import torch

from emosphere.clips.batches import targets_of
from emosphere.clips.epoch import num_batches
from emosphere.clips.manifest import Clip, read_manifest
from emosphere.errors import UsageError
from emosphere.training.terms import head_of
from pipelines.train.config import TrainConfig

log = logging.getLogger("emosphere")


def read_clips(config: TrainConfig) -> list[Clip]:
    """The clips this run learns from or reports on, and those whose ratings weak labels can be held against.

    Clips without a label for any head are left out. Raises UsageError for a split that is not there, or missing files.
    """
    clips = read_manifest(config.clips.manifest)
    splits = {clip.split for clip in clips}
    wanted = {*config.clips.train, *config.clips.choose, *config.clips.calibrate, *config.clips.evaluate}
    for split in sorted(wanted - splits):
        raise UsageError(
            f"{config.clips.manifest}: has no split {split!r}, only {', '.join(sorted(splits))}; see [clips]."
        )
    # Ratings of other splits only serve to hold weak labels against.
    rated_too = any(clip.weak for clip in clips if clip.split in wanted)
    used = [
        clip for clip in clips if (clip.split in wanted or (rated_too and clip.is_rated)) and _is_wanted(clip, config)
    ]
    used = _labelled(used, config)
    if config.clips.without_category == "learn" and all(clip.category is not None for clip in clips):
        log.warning("%s: every clip has a category, so without_category changes nothing", config.clips.manifest)
    absent = [clip.uri for clip in used if "://" not in clip.uri and not Path(clip.uri).is_file()]
    if len(absent) > config.clips.max_unreadable:
        raise UsageError(f"{config.clips.manifest}: {len(absent)} of its files are missing, first {absent[0]}.")
    for stream in sorted(config.drawn_streams):
        log.warning(
            "stream %s is of a pretrained kind, and [weights] names no folder: it starts from random ones", stream
        )
    return used


def check_enough(config: TrainConfig, clips: list[Clip], num_workers: int) -> None:
    """Raise UsageError for what would train on nothing: concordance needs two clips of each worker."""
    learnt = [clip for clip in clips if clip.split in config.clips.train]
    smallest_batch = len(learnt) // max(num_batches(len(learnt), config.fit.batch_size), 1)
    if smallest_batch < 2 * num_workers:
        raise UsageError(
            f"{len(learnt)} clips to learn from in batches of {config.fit.batch_size} give {num_workers} workers less "
            "than two clips each: take fewer workers, a larger fit.batch_size or more clips."
        )
    _check_labels(config, clips, learnt)
    speakers = {clip.speaker for clip in learnt}
    if config.folds > len(speakers):
        raise UsageError(f"folds={config.folds}, but only {len(speakers)} people speak in the clips to learn from.")


def _labelled(clips: list[Clip], config: TrainConfig) -> list[Clip]:
    """Those of which at least one head's label is known; how many are not is said."""
    if not clips:
        return clips
    known = [target.is_known.flatten(1).any(dim=1) if target.is_known.dim() > 1 else target.is_known
             for target in targets_of(clips, config.tasks).values()]  # fmt: skip
    is_labelled = torch.stack(known).any(dim=0).tolist()
    if missing := is_labelled.count(False):
        heads = ", ".join(config.tasks)
        log.warning("%s: %d clips have no label for %s; they are left out", config.clips.manifest, missing, heads)
    return [clip for clip, is_known in zip(clips, is_labelled, strict=True) if is_known]


def _check_labels(config: TrainConfig, clips: list[Clip], learnt: list[Clip]) -> None:
    """Refuse a head that nothing teaches; warn of classes and dimensions that no clip does, and what follows."""
    where = config.clips.manifest
    taught = {head_of(name, term) for name, term in config.fit.terms.items() if term.weight}
    targets = targets_of(learnt, config.tasks)
    for head in (head for head in config.tasks if head in taught):
        task, target = config.tasks[head], targets[head]
        if not target.is_known.any():
            raise UsageError(
                f"{where}: no clip to learn from has a label that teaches the head {head} ({task.wanted(learnt)}); "
                "name the corpus's own, or leave the head out."
            )
        if missing := task.untaught(target):
            log.warning("%s: no clip to learn from teaches the %s %s", where, task.plural, ", ".join(missing))
    apart = [clip for clip in clips if clip.split in config.clips.calibrate]
    for head, task in config.tasks.items():
        if apart and head not in config.auxiliary_heads and not task.target(apart).is_known.any():
            log.warning(
                "%s: no clip of clips.calibrate has a label for the head %s; it will not be calibrated", where, head
            )
    if config.clips.choose:
        chosen = [clip for clip in clips if clip.split in config.clips.choose]
        if not config.tasks[config.chosen_by].target(chosen).is_known.any():
            raise UsageError(
                f"{where}: no clip of clips.choose has a label for the head {config.chosen_by}, by which the best "
                "epoch is chosen; set fit.choose_by, or clips.choose."
            )


def _is_wanted(clip: Clip, config: TrainConfig) -> bool:
    """Whether the clip's category, or its lack of one, admits it."""
    if clip.category is not None or config.clips.without_category == "keep":
        return True
    return config.clips.without_category == "learn" and clip.split in config.clips.train
