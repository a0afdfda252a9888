"""Answers that are NaN or all the same are refused by name, never a silent 0."""

from collections.abc import Callable

import numpy as np
import pytest

from emosphere.errors import UsageError
from emosphere.evaluation.answered import AnsweredClips, refuse_useless


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
