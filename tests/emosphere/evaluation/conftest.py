"""Made-up answers of a model that is fair at it, of speakers who differ."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from emosphere.clips.manifest import Clip
from emosphere.evaluation.answered import AnsweredClips
from emosphere.geometry import region_of
from emosphere.tasks import Task
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask


def make_answered(
    num_speakers: int = 6,
    clips_each: int = 20,
    *,
    seed: int = 0,
    effect: float = 0.1,
    head: bool = True,
    vad: Any = None,
    radius_90: float | None = None,
    region_probs: Any = None,
    regions: Any = 8,
    at_weight_zero: bool = False,
    more: Mapping[str, tuple[Task, Any]] | None = None,
    only: Collection[str] | None = None,
    **changes: Any,
) -> AnsweredClips:
    """Ratings drawn at random; answers follow them with an offset per speaker and noise.

    ``more``: further heads with their answers; ``only``: the heads that are left of all.
    """
    rng = np.random.default_rng(seed)
    num_clips = num_speakers * clips_each
    target = rng.uniform(-0.9, 0.9, (num_clips, 3))
    speaker = np.repeat(np.arange(num_speakers), clips_each)
    follows = 0.6 * target + effect * rng.normal(size=(num_speakers, 3))[speaker] + 0.1 * rng.normal(size=target.shape)
    region = region_of(torch.from_numpy(target)).tolist()
    clips = tuple(
        Clip(
            uri=f"/clips/{row}.wav", vad=tuple(target[row].tolist()),
            speaker=f"s{speaker[row]:02d}", corpus=("a", "b")[speaker[row] % 2], split="test",
            gender=("female", "male", None)[row % 3], category=("joy", "anger")[row % 2],
        )
        for row in range(num_clips)
    )  # fmt: skip
    logits = rng.normal(size=(num_clips, 8))
    logits[np.arange(num_clips), region] += 1.5
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    duration_s, level_db = rng.uniform(0.5, 12, num_clips), rng.uniform(-50, -10, num_clips)
    heads: dict[str, tuple[Task, Any]] = {
        "vad": (VadTask(radius_90=radius_90), follows.clip(-1, 1) if vad is None else vad)
    }
    if head:
        heads["region"] = (RegionTask(regions=regions), probs if region_probs is None else region_probs)
    heads = {name: value for name, value in (heads | dict(more or {})).items() if only is None or name in only}
    answers = {name: np.asarray(values, np.float32) for name, (_, values) in heads.items()}
    values: dict[str, Any] = {
        "clips": clips,
        "duration_s": duration_s,
        "level_db": level_db,
        "tasks": {name: task for name, (task, _) in heads.items()},
        "answers": answers,
        "at_weight_zero": answers if at_weight_zero else None,
    }
    return AnsweredClips(**values | changes)


def without_rating(answered: AnsweredClips, dim: int, rows: range) -> tuple[Clip, ...]:
    """Clips of which ``rows`` are not rated in one dimension."""
    from dataclasses import replace

    def unrated(clip: Clip) -> Clip:
        vad = list(clip.vad)
        vad[dim] = math.nan
        return replace(clip, vad=tuple(vad))

    return tuple(unrated(clip) if row in rows else clip for row, clip in enumerate(answered.clips))


@pytest.fixture
def answered() -> AnsweredClips:
    return make_answered()


@pytest.fixture
def make() -> Callable[..., AnsweredClips]:
    return make_answered


@pytest.fixture
def unrate() -> Callable[[AnsweredClips, int, range], tuple[Clip, ...]]:
    return without_rating
