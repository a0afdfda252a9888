"""Made-up answers of a model that is fair at it, of speakers who differ."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from emosphere.clips.manifest import Clip
from emosphere.evaluation.answered import AnsweredClips
from emosphere.geometry import region_of


def make_answered(
    num_speakers: int = 6,
    clips_each: int = 20,
    *,
    seed: int = 0,
    effect: float = 0.1,
    head: bool = True,
    **changes: Any,
) -> AnsweredClips:
    """Ratings drawn at random; answers follow them with an offset per speaker and noise."""
    rng = np.random.default_rng(seed)
    num_clips = num_speakers * clips_each
    target = rng.uniform(-0.9, 0.9, (num_clips, 3))
    speaker = np.repeat(np.arange(num_speakers), clips_each)
    vad = 0.6 * target + effect * rng.normal(size=(num_speakers, 3))[speaker] + 0.1 * rng.normal(size=target.shape)
    regions = region_of(torch.from_numpy(target)).tolist()
    clips = tuple(
        Clip(
            uri=f"/clips/{row}.wav", vad=tuple(target[row].tolist()), region=regions[row],
            speaker=f"s{speaker[row]:02d}", corpus=("a", "b")[speaker[row] % 2], split="test",
            gender=("female", "male", None)[row % 3], category=("joy", "anger")[row % 2],
        )
        for row in range(num_clips)
    )  # fmt: skip
    logits = rng.normal(size=(num_clips, 8))
    logits[np.arange(num_clips), regions] += 1.5
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    values: dict[str, Any] = {
        "clips": clips,
        "duration_s": rng.uniform(0.5, 12, num_clips),
        "level_db": rng.uniform(-50, -10, num_clips),
        "vad": vad.clip(-1, 1),
        "num_regions": 8,
        "region_probs": probs.astype(np.float32) if head else None,
    }
    return AnsweredClips(**values | changes)


def without_rating(answered: AnsweredClips, dim: int, rows: range) -> tuple[Clip, ...]:
    """Clips of which ``rows`` are not rated in one dimension."""
    from dataclasses import replace

    def unrated(clip: Clip) -> Clip:
        vad = list(clip.vad)
        vad[dim] = math.nan
        return replace(clip, vad=tuple(vad), region=-1)

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
