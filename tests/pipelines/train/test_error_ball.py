"""A ball of error is told only where it says more than a constant answer would."""

import json

import pytest
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.manifest import Clip
from pipelines.train.error_ball import coverage_by_speaker, error_ball, is_informative


def clips() -> InMemoryClips:
    """Forty clips of two speakers on the diagonal of the cube, from one corner to the other."""
    made = []
    for index in range(40):
        at = index / 20 - 1
        made.append(
            Clip(uri="x", speaker=f"s{index % 2}", corpus="c", split="dev", vad=(at, at, at), region=0)
        )  # fmt: skip
    return InMemoryClips(tuple(made), ())


def test_good_answers_need_a_smaller_ball_than_a_constant() -> None:
    labelled, rows = clips(), list(range(40))
    targets = labelled.targets(rows)["vad"]
    off = torch.zeros_like(targets)
    off[:, 0] = torch.linspace(0, 0.2, 40)
    ball = error_ball(labelled, rows, {"vad": targets + off}, rows)
    # The 37th of 40 distances; the clamp to the scale cuts only the last ones.
    assert ball["radius"] == pytest.approx(0.2 * 36 / 39, abs=0.02)
    assert ball["constant_radius"] > 1
    assert (ball["clips"], ball["speakers"]) == (40, 2)
    assert is_informative(ball)
    covered = coverage_by_speaker(labelled, rows, {"vad": targets + off}, 0.1)
    assert covered[""] == pytest.approx((covered["s0"] + covered["s1"]) / 2)
    assert 0.4 < covered[""] < 0.6


def test_a_constant_answer_tells_nothing() -> None:
    labelled, rows = clips(), list(range(40))
    flat = labelled.targets(rows)["vad"].mean(dim=0).expand(40, 3)
    ball = error_ball(labelled, rows, {"vad": flat}, rows)
    assert ball["radius"] == ball["constant_radius"]
    assert not is_informative(ball)


def test_too_few_clips_have_no_ball_and_say_so_in_json() -> None:
    labelled, rows = clips(), list(range(8))
    ball = error_ball(labelled, rows, {"vad": labelled.targets(rows)["vad"]}, rows)
    assert ball["radius"] is ball["constant_radius"] is None
    assert ball["reason"] == "8 clips are too few to say what holds 90 %"
    assert not is_informative(ball)
    assert "Infinity" not in json.dumps(ball, allow_nan=False)
