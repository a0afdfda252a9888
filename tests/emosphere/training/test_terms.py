"""The dynamic weight by its table, and which term reaches which part."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from emosphere.model.frames import Frames
from emosphere.tasks import Target
from emosphere.training.terms import (
    Concordance,
    CrossEntropy,
    Term,
    detached_heads,
    dynamic_weight,
    weights_in,
    widest_scope,
)

FALLING = CrossEntropy(schedule="falling")


def with_region(**settings: Any) -> dict[str, Term]:
    return {"vad": Concordance(), "region": dataclasses.replace(FALLING, **settings)}


def test_the_papers_weights() -> None:
    weights = [dynamic_weight(epoch, 5.0) for epoch in range(7)]
    assert weights == pytest.approx([1, 0.802, 0.604, 0.406, 0.208, 0, 0], abs=1e-12)


def test_the_span_is_a_share_of_the_training() -> None:
    assert [FALLING.share(epoch, 20) for epoch in range(20)] == [dynamic_weight(epoch, 5.0) for epoch in range(20)]
    assert FALLING.share(10, 80) == dynamic_weight(10, 20.0)


def test_a_span_of_nothing_never_weighs() -> None:
    assert dataclasses.replace(FALLING, span=0.0).share(0, 20) == 0


def test_the_span_may_be_given_in_epochs() -> None:
    term = dataclasses.replace(FALLING, span_epochs=5.0)
    assert term.share(2, 1000) == pytest.approx(0.604)
    assert term.share(5, 1000) == 0


def test_a_line_falls_over_all_epochs() -> None:
    line = CrossEntropy(schedule="linear")
    assert [line.share(epoch, 4) for epoch in range(4)] == [1, 0.75, 0.5, 0.25]


def test_the_mean_over_dimensions_is_a_third_of_the_sum() -> None:
    torch.manual_seed(0)
    answers, target = torch.randn(6, 3), Target(torch.randn(6, 3), torch.ones(6, 3, dtype=torch.bool))
    summed, mean = (Concordance(reduction=way).loss(answers, target, None) for way in ("sum", "mean"))
    assert float(mean) == pytest.approx(float(summed) / 3)


def test_plain_cross_entropy_weighs_all_classes_alike() -> None:
    """Those that occur; absent ones keep their weight of 0."""
    torch.manual_seed(0)
    answers, labels = torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 0])
    target = Target(labels, torch.arange(6) < 5)
    weights = torch.tensor([0.4, 0.6, 0.0, 0.0])
    term = CrossEntropy(class_weighted=False).loss(answers, target, weights)
    expected = torch.nn.functional.cross_entropy(answers[:5].double(), labels[:5])
    assert float(term) == pytest.approx(float(expected))
    weighted = torch.nn.functional.cross_entropy(answers[:5].double(), labels[:5], weights.double())
    assert float(CrossEntropy().loss(answers, target, weights)) == pytest.approx(float(weighted))


def test_plain_cross_entropy_leaves_out_clips_of_a_class_without_weight() -> None:
    answers, labels = torch.randn(3, 3), torch.tensor([0, 1, 2])
    target = Target(labels, torch.ones(3, dtype=torch.bool))
    term = CrossEntropy(class_weighted=False).loss(answers, target, torch.tensor([0.2, 3.0, 0.0]))
    logs = [math.log(math.exp(row[label]) / sum(map(math.exp, row))) for label, row in enumerate(answers[:2].tolist())]
    assert float(term) == pytest.approx(-sum(logs) / 2)


@pytest.mark.parametrize(("settings", "weight"), [({"schedule": "constant"}, 1.0), ({"weight": 0.0}, None)])
def test_the_ablations_hold_their_weight(settings: dict[str, Any], weight: float | None) -> None:
    terms = with_region(**settings)
    assert {weights_in(terms, epoch, 20).get("region") for epoch in (0, 4, 5, 19)} == {weight}
    assert not any(detached_heads(terms, epoch, 20) for epoch in range(20))


def test_after_the_fall_a_head_learns_alone_or_rests() -> None:
    assert [bool(detached_heads(with_region(), epoch, 20)) for epoch in (4, 5, 19)] == [False, True, True]
    assert weights_in(with_region(weight=0.5), 7, 20) == {"vad": 1.0, "region": 0.5}
    frozen = with_region(afterwards="freeze")
    assert not detached_heads(frozen, 10, 20)
    assert weights_in(frozen, 10, 20) == {"vad": 1.0}


def test_a_head_that_another_term_still_shapes_is_not_detached() -> None:
    terms = with_region() | {"more": CrossEntropy(head="region", weight=0.1)}
    assert not detached_heads(terms, 10, 20)
    assert weights_in(terms, 10, 20) == {"vad": 1.0, "more": 0.1}
    assert weights_in(terms, 0, 20) == {"vad": 1.0, "region": 1.0, "more": 0.1}


def test_weights_and_schedules_multiply() -> None:
    terms = with_region(weight=0.5) | {"category": CrossEntropy(weight=0.25)}
    assert weights_in(terms, 2, 20) == pytest.approx({"vad": 1.0, "region": 0.302, "category": 0.25})


def test_the_widest_scope_is_that_of_a_term_that_counts() -> None:
    assert widest_scope({"a": Concordance(scope="piece"), "b": CrossEntropy(scope="batch")}) == "batch"
    assert widest_scope({"a": Concordance(scope="piece"), "b": CrossEntropy(weight=0.0)}) == "piece"


@pytest.mark.parametrize("term", [Concordance(), CrossEntropy()])
def test_frames_have_no_term_that_is_about_clips(term: Term) -> None:
    frames = Frames(torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="this term is about clips, and its head reads frames"):
        term.loss(frames, Target(torch.zeros(2, dtype=torch.long), torch.ones(2, dtype=torch.bool)), torch.ones(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -0.1}, "weight=-0.1 must be at least 0"),
        ({"weight": float("nan")}, "weight=nan must be at least 0"),
        ({"span": 1.5}, "span=1.5 must lie in 0..1"),
        ({"span_epochs": -1.0}, "span_epochs=-1.0 must not be negative"),
    ],
)
def test_weights_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Concordance(**settings)
