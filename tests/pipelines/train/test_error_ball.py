"""A ball of error is told only where it says more than a constant answer would."""

import dataclasses
import json
import math

import pytest
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.manifest import Clip
from emosphere.tasks import Target, tasks_of
from pipelines.train.error_ball import coverage_by_speaker, error_ball, known_mean, published_radius


def clips() -> InMemoryClips:
    """Forty clips of two speakers on the diagonal of the cube, from one corner to the other."""
    made = []
    for index in range(40):
        at = index / 20 - 1
        made.append(
            Clip(uri="x", speaker=f"s{index % 2}", corpus="c", split="dev", vad=(at, at, at))
        )  # fmt: skip
    return InMemoryClips(tuple(made), (), tasks_of({"vad": "vad"}, {}))


def test_good_answers_need_a_smaller_ball_than_a_constant() -> None:
    labelled, rows = clips(), list(range(40))
    targets = labelled.targets(rows)["vad"].values
    off = torch.zeros_like(targets)
    off[:, 0] = torch.linspace(0, 0.2, 40)
    ball = {"from": "calibrate"} | error_ball(labelled, rows, targets + off, rows, "vad")
    # The 37th of 40 distances; the clamp to the scale cuts only the last ones.
    assert ball["radius"] == pytest.approx(0.2 * 36 / 39, abs=0.02)
    assert ball["constant_radius"] > 1
    assert (ball["clips"], ball["speakers"]) == (40, 2)
    assert published_radius(ball) == ball["radius"]
    assert published_radius(ball | {"from": "folds"}) is None
    covered = coverage_by_speaker(labelled, rows, targets + off, 0.1, "vad")
    assert covered[""] == pytest.approx((covered["s0"] + covered["s1"]) / 2)
    assert 0.4 < covered[""] < 0.6


def test_a_constant_answer_tells_nothing() -> None:
    labelled, rows = clips(), list(range(40))
    flat = labelled.targets(rows)["vad"].values.mean(dim=0).expand(40, 3)
    ball = {"from": "calibrate"} | error_ball(labelled, rows, flat, rows, "vad")
    assert ball["radius"] == ball["constant_radius"]
    assert published_radius(ball) is None


def test_too_few_clips_have_no_ball_and_say_so_in_json() -> None:
    labelled, rows = clips(), list(range(8))
    ball = {"from": "calibrate"} | error_ball(labelled, rows, labelled.targets(rows)["vad"].values, rows, "vad")
    assert ball["radius"] is ball["constant_radius"] is None
    assert ball["reason"] == "8 clips are too few to say what holds 90 %"
    assert published_radius(ball) is None
    assert "Infinity" not in json.dumps(ball, allow_nan=False)


def test_clips_that_are_not_rated_in_every_dimension_are_left_out() -> None:
    labelled, rows = clips(), list(range(40))
    targets = labelled.targets(rows)["vad"].values
    unrated = tuple(
        dataclasses.replace(clip, vad=(*clip.vad[:2], math.nan)) if row < 20 else clip
        for row, clip in enumerate(labelled.clips)
    )
    halved = InMemoryClips(unrated, (), labelled.tasks)
    ball = error_ball(halved, rows, targets + 0.1, rows, "vad")
    assert ball["clips"] == 20
    assert ball == error_ball(labelled, rows[20:], targets[20:] + 0.1, rows[20:], "vad") | {
        "constant_radius": ball["constant_radius"]
    }
    assert coverage_by_speaker(halved, rows[:20], targets[:20], 0.1, "vad") == {}


def test_a_mean_is_over_what_is_known() -> None:
    values = torch.tensor([[0.2, 9.0], [0.4, 0.6]])
    assert known_mean(Target(values, torch.tensor([[True, False], [True, True]]))).tolist() == pytest.approx([0.3, 0.6])
    assert known_mean(Target(values, torch.zeros(2, 2, dtype=torch.bool))).tolist() == [0, 0]


def test_the_constant_is_the_mean_of_what_was_learnt() -> None:
    """-1 to -.05 are learnt, 0 to .95 calibrate: of 20 distances the 19th, at .9."""
    labelled, learnt, rows = clips(), list(range(20)), list(range(20, 40))
    ball = error_ball(labelled, rows, labelled.targets(rows)["vad"].values, learnt, "vad")
    assert ball["constant_radius"] == pytest.approx(math.sqrt(3) * (0.9 + 0.525), abs=1e-3)


def test_a_ball_lies_around_what_is_published() -> None:
    corners = InMemoryClips(
        tuple(dataclasses.replace(clip, vad=(1.0, -1.0, 1.0)) for clip in clips().clips), (), clips().tasks
    )
    rows, far = list(range(40)), torch.tensor([[7.0, -2.0, 1.5]]).expand(40, 3)
    assert error_ball(corners, rows, far, rows, "vad")["radius"] == 0
    assert coverage_by_speaker(corners, rows, far, 0.1, "vad") == {"": 1, "s0": 1, "s1": 1}
