"""The clips of one training, and what is refused before anything starts."""

import logging
import math
from pathlib import Path

from emosphere.clips.epoch import num_batches
from emosphere.clips.manifest import Clip, read_manifest
from emosphere.errors import UsageError
from emosphere.geometry import REGION_NAMES
from pipelines.train.config import TrainConfig

log = logging.getLogger("emosphere")


def read_clips(config: TrainConfig) -> list[Clip]:
    """The clips this run learns from or reports on, and those whose ratings weak labels can be held against.

    Raises UsageError for a split that is not there, a clip without ratings, or missing files.
    """
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


def check_enough(config: TrainConfig, clips: list[Clip], num_workers: int) -> None:
    """Raise UsageError for what would train on nothing: concordance needs two clips of each worker."""
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
    categories = {clip.category for clip in learnt}
    absent = [word for word in config.clips.categories if word not in categories]
    if "category" in heads and len(absent) == len(config.clips.categories):
        words = ", ".join(sorted(word for word in categories if word)) or "none"
        raise UsageError(
            f"{where}: no clip to learn from has one of clips.categories, {', '.join(absent)} (found: {words}), so "
            "nothing teaches the category head; name the corpus's words, or leave the head out."
        )
    if "category" in heads and absent:
        log.warning("%s: no clip to learn from teaches the categories %s", where, ", ".join(absent))
    if "region" not in heads:
        return
    names = REGION_NAMES[config.num_regions]
    regions = {clip.region for clip in learnt}
    if empty := [name for index, name in enumerate(names) if index not in regions]:
        log.warning("%s: no clip to learn from teaches the regions %s", where, ", ".join(empty))
    if config.clips.calibrate and all(clip.region < 0 for clip in clips if clip.split in config.clips.calibrate):
        log.warning("%s: no clip of clips.calibrate has a region; region_prob will not be calibrated", where)


def _is_wanted(clip: Clip, config: TrainConfig) -> bool:
    """Whether the clip's category, or its lack of one, admits it."""
    if clip.category is not None or config.clips.without_category == "keep":
        return True
    return config.clips.without_category == "learn" and clip.split in config.clips.train
