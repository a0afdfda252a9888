"""Every clip is in one slice of each kind, and borders belong where they say."""

from collections.abc import Callable

import numpy as np

from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.slices import slices


def test_every_clip_is_in_one_slice_of_each_kind(answered: AnsweredClips) -> None:
    for kind, parts in slices(answered).items():
        rows = sorted(row for part in parts.values() for row in part)
        assert rows == list(range(len(answered.clips))), kind


def test_slices_are_named_by_what_the_manifest_says(answered: AnsweredClips) -> None:
    parts = slices(answered)
    assert list(parts["corpus"]) == ["a", "b"]
    assert list(parts["gender"]) == ["(not given)", "female", "male"]
    assert parts["category"]["joy"][:2] == [0, 2]


def test_lengths_are_binned_in_order_with_borders_on_the_longer_side(make: Callable[..., AnsweredClips]) -> None:
    lengths = np.array([12.0, 1.9, 2.0, 3.99, 4.0, 8.0])
    parts = slices(make(1, 6, duration_s=lengths))["duration"]
    assert parts == {"below 2 s": [1], "2 to 4 s": [2, 3], "4 to 8 s": [4], "8 s and more": [0, 5]}


def test_levels_are_thirds(make: Callable[..., AnsweredClips]) -> None:
    levels = np.array([-10.0, -30.0, -20.0, -40.0, -25.0, -60.0])
    parts = slices(make(1, 6, level_db=levels))["level"]
    assert parts == {"up to -40.0 dB": [3, 5], "-40.0 to -25.0 dB": [1, 4], "above -25.0 dB": [0, 2]}


def test_equal_levels_make_one_slice(make: Callable[..., AnsweredClips]) -> None:
    assert list(slices(make(1, 4, level_db=np.full(4, -20.0)))["level"].values()) == [[0, 1, 2, 3]]
