"""Answers that are NaN or all the same are refused by name, never a silent 0."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from emosphere.clips.manifest import Clip
from emosphere.errors import UsageError
from emosphere.evaluation.answered import AnsweredClips, refuse_useless
from emosphere.evaluation.drawn_figures import inside_ball
from tests.tasks.syllables import SyllablesTask


def test_useful_answers_pass(answered: AnsweredClips) -> None:
    refuse_useless(answered, model="m", split="test")


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_refused(
    make: Callable[..., AnsweredClips], answered: AnsweredClips, broken: float
) -> None:
    """The message names dimension, split and clip."""
    vad = answered.answers["vad"].copy()
    vad[[7, 9], 1] = broken
    with pytest.raises(UsageError, match=r"runs/x: predicts NaN.*arousal for 2 of the 120.*'dev', first /clips/7.wav"):
        refuse_useless(make(vad=vad), model="runs/x", split="dev")


def test_the_same_answer_to_all_is_refused_with_dimension_and_split(
    make: Callable[..., AnsweredClips], answered: AnsweredClips
) -> None:
    vad = answered.answers["vad"].copy()
    vad[:, 2] = 0.25 + 1e-8 * np.arange(len(vad))  # what rounding leaves of a constant
    with pytest.raises(UsageError, match=r"same dominance, 0\.2500, for all of the 120 clips of split 'test'"):
        refuse_useless(make(vad=vad), model="m", split="test")


def test_a_probability_that_is_nan_is_refused(make: Callable[..., AnsweredClips], answered: AnsweredClips) -> None:
    probs = answered.answers["region"].copy()
    probs[3, 0] = np.nan
    with pytest.raises(UsageError, match=r"NaN as region probability for 1 .*/clips/3.wav"):
        refuse_useless(make(region_probs=probs), model="m", split="test")


def test_rows_are_taken_with_all_that_belongs_to_them(answered: AnsweredClips) -> None:
    some = answered.take([5, 2])
    assert [clip.uri for clip in some.clips] == ["/clips/5.wav", "/clips/2.wav"]
    for head in ("vad", "region"):
        np.testing.assert_array_equal(some.answers[head], answered.answers[head][[5, 2]])
    np.testing.assert_array_equal(some.ratings("vad")[0], answered.ratings("vad")[0][[5, 2]])


def test_columns_of_other_lengths_are_refused(make: Callable[..., AnsweredClips]) -> None:
    with pytest.raises(ValueError, match="differ in length"):
        make(duration_s=np.ones(3))


def at_weight_zero(answered: AnsweredClips) -> AnsweredClips:
    """With other probabilities of regions then than now; those of the point are in the way."""
    regions = np.random.default_rng(7).dirichlet(np.ones(8), len(answered.clips)).astype(np.float32)
    return dataclasses.replace(answered, at_weight_zero={"vad": answered.answers["vad"], "region": regions})


def test_what_was_answered_at_weight_zero_stays_with_its_head_and_rows(answered: AnsweredClips) -> None:
    earlier = at_weight_zero(answered)
    assert earlier.at_weight_zero is not None
    named = earlier.take([5, 2]).named("region")
    then, now = earlier.at_weight_zero["region"], answered.answers["region"]
    assert np.asarray(named["head_at_weight_zero"]).tolist() == [int(then[row].argmax()) for row in (5, 2)]
    assert np.asarray(named["head"]).tolist() == [int(now[row].argmax()) for row in (5, 2)]
    assert answered.take([5, 2]).at_weight_zero is None


def test_a_probability_that_was_nan_at_weight_zero_is_refused(answered: AnsweredClips) -> None:
    earlier = at_weight_zero(answered)
    assert earlier.at_weight_zero is not None
    refuse_useless(earlier, model="m", split="test")
    earlier.at_weight_zero["region"][3, 0] = np.nan
    with pytest.raises(UsageError, match=r"NaN as region probability for 1 .*/clips/3.wav"):
        refuse_useless(earlier, model="m", split="test")


def test_a_scale_without_an_end_reaches_as_far_as_its_targets(make: Callable[..., AnsweredClips]) -> None:
    clips = tuple(
        dataclasses.replace(clip, transcript=None if row == 9 else " ".join(["ta"] * (row % 5)))
        for row, clip in enumerate(make().clips)
    )
    counts = np.arange(120, dtype=np.float32)[:, None] % 7
    answered = make(more={"syllables": (SyllablesTask(), counts)}, clips=clips)
    dimension = answered.dimensions("syllables")["syllables"]
    assert (dimension.lowest, dimension.highest, dimension.num_unrated) == (0, 4, 1)
    assert dimension.centred(np.array([0.0, 2.0, 4.0])).tolist() == [-1, 0, 1]


def test_a_ball_is_asked_about_clips_that_are_rated_in_every_dimension(
    make: Callable[..., AnsweredClips], unrate: Callable[[AnsweredClips, int, range], tuple[Clip, ...]]
) -> None:
    """Of 20 clips the first 15 lack a dimension; half of the rest lie inside."""
    whole = make(num_speakers=2, clips_each=10)
    vad = np.array([clip.vad for clip in whole.clips])
    vad[::2, 1] += 0.2
    answered = make(num_speakers=2, clips_each=10, vad=vad, radius_90=0.1, clips=unrate(whole, 2, range(15)))
    ball = inside_ball(answered, "vad")
    assert ball is not None
    assert ball[0].tolist() == [True, False, True, False, True]
    assert ball[1].tolist() == [1] * 5
    assert inside_ball(whole, "vad") is None
