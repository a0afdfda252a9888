"""Clips pass through Ray Data as they were, without what no task asks for."""

import dataclasses
import math

from emosphere.clips.manifest import Clip
from pipelines.train.arrow_clips import CLIPS_PER_TASK, clip_tables, clips_of
from tests.pipelines.train.tiny_config import CLIP

FULL = dataclasses.replace(
    CLIP, start_ms=5, end_ms=90, channel=1, vad=(0.5, -1.0, 0.25), weak=True, category="anger", gender="female",
    duration_ms=85, intensity="strong", categories=("fear", "anger"), transcript="No.", ratings="[]",
)  # fmt: skip


def carried(*clips: Clip) -> list[tuple[int, Clip]]:
    tables = clip_tables([{"row": row, "clip": clip} for row, clip in enumerate(clips)])
    return [pair for table in tables for pair in clips_of(table)]


def test_every_field_comes_out_but_the_long_ones() -> None:
    without = dataclasses.replace(FULL, transcript=None, ratings=None)
    assert carried(FULL, *[CLIP] * CLIPS_PER_TASK) == [(0, without), *enumerate([CLIP] * CLIPS_PER_TASK, start=1)]


def test_what_nobody_rated_stays_unrated() -> None:
    ((_, clip),) = carried(dataclasses.replace(FULL, vad=(0.5, math.nan, 0.0)))
    assert math.isnan(clip.vad[1])
