"""Parts of a split that a reader asks about: corpus, gender, length, level, category."""

import itertools
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from emosphere.evaluation.answered import AnsweredClips, Float64

UNKNOWN: Final = "(not given)"
"""Slice of the clips whose manifest does not say."""
DURATIONS_S: Final = (2.0, 4.0, 8.0)
"""Borders between lengths; a border belongs to the longer side."""


def slices(answered: AnsweredClips) -> dict[str, dict[str, list[int]]]:
    """What is sliced by -> name of the slice -> rows. Every row is in one slice of each kind."""
    clips = answered.clips
    return {
        "corpus": _rows_by(clip.corpus for clip in clips),
        "gender": _rows_by(clip.gender for clip in clips),
        "duration": _rows_by(map(_length, answered.duration_s), order=LENGTHS.index),
        "level": _levels(answered.level_db),
        "category": _rows_by(clip.category for clip in clips),
    }


LENGTHS: Final = (
    f"below {DURATIONS_S[0]:g} s",
    *(f"{low:g} to {high:g} s" for low, high in itertools.pairwise(DURATIONS_S)),
    f"{DURATIONS_S[-1]:g} s and more",
)


def _length(seconds: float) -> str:
    return LENGTHS[int(np.searchsorted(DURATIONS_S, seconds, side="right"))]


def _levels(level_db: Float64) -> dict[str, list[int]]:
    """Thirds by level; clips as soft as the last of a third belong to it."""
    ordered = np.sort(level_db)
    low, high = (float(ordered[-(-len(ordered) * share // 3) - 1]) for share in (1, 2))
    names = (f"up to {low:.1f} dB", f"{low:.1f} to {high:.1f} dB", f"above {high:.1f} dB")
    masks = (level_db <= low, (level_db > low) & (level_db <= high), level_db > high)
    thirds = {name: np.flatnonzero(mask).tolist() for name, mask in zip(names, masks, strict=True)}
    return {name: rows for name, rows in thirds.items() if rows}


def _rows_by(values: Iterable[str | None], *, order: Callable[[str], int] | None = None) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        groups.setdefault(value or UNKNOWN, []).append(row)
    return {name: groups[name] for name in sorted(groups, key=order)}
