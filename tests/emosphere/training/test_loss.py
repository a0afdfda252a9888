"""The dynamic weight by its table, and which term reaches which part."""

import math

import pytest
import torch

from emosphere.training.loss import (
    LearntWeights,
    LossConfig,
    detached_heads,
    dynamic_weight,
    loss_terms,
    region_weight,
    total,
)


def test_the_papers_weights() -> None:
    weights = [dynamic_weight(epoch, 5.0) for epoch in range(7)]
    assert weights == pytest.approx([1, 0.802, 0.604, 0.406, 0.208, 0, 0], abs=1e-12)


def test_the_span_is_a_share_of_the_training() -> None:
    config = LossConfig()
    assert [region_weight(config, epoch, 20) for epoch in range(20)] == [
        dynamic_weight(epoch, 5.0) for epoch in range(20)
    ]
    assert region_weight(config, 10, 80) == dynamic_weight(10, 20.0)


def test_a_span_of_nothing_never_weighs() -> None:
    assert region_weight(LossConfig(lambda_span=0.0), 0, 20) == 0


def test_the_span_may_be_given_in_epochs() -> None:
    config = LossConfig(lambda_epochs=5.0)
    assert region_weight(config, 2, 1000) == pytest.approx(0.604)
    assert region_weight(config, 5, 1000) == 0


def test_a_line_falls_over_all_epochs() -> None:
    assert [region_weight(LossConfig(region_schedule="linear"), epoch, 4) for epoch in range(4)] == [1, 0.75, 0.5, 0.25]


def test_the_mean_over_dimensions_is_a_third_of_the_sum() -> None:
    first, mean = terms_in(0, LossConfig()), terms_in(0, LossConfig(reduction="mean"))
    assert float(mean["vad"]) == pytest.approx(float(first["vad"]) / 3)


def test_plain_cross_entropy_weighs_all_classes_alike() -> None:
    """Those that occur; absent ones keep their weight of 0."""
    torch.manual_seed(0)
    answers = {"vad": torch.randn(6, 3), "region": torch.randn(6, 4)}
    targets = {"vad": torch.randn(6, 3), "region": torch.tensor([0, 0, 0, 1, 1, -1])}
    weights = {"region": torch.tensor([0.4, 0.6, 0.0, 0.0])}
    plain = LossConfig(class_weighted=False)
    term = loss_terms(answers, targets, weights, plain, epoch=0, num_epochs=20)["region"]
    expected = torch.nn.functional.cross_entropy(answers["region"][:5].double(), targets["region"][:5])
    assert float(term) == pytest.approx(float(expected))


def test_categories_may_take_the_place_of_regions() -> None:
    """The paper's ablation with a categorical auxiliary."""
    config = LossConfig(joint_head="category")
    assert terms_in(0, config).keys() == {"vad", "category"}
    assert float(terms_in(2, config)["category"] / terms_in(0, config)["category"]) == pytest.approx(0.604)
    assert detached_heads(config, 19, 20) == {"category"}


def test_learnt_weights_are_kendalls() -> None:
    weights = LearntWeights(["vad", "region"])
    with torch.no_grad():
        weights.log_variances["vad"].fill_(0.7)
    loss = weights({"vad": torch.tensor(2.0), "region": torch.tensor(3.0)})
    assert float(loss.detach()) == pytest.approx(math.exp(-0.7) * 2 + 0.7 + 3)


@pytest.mark.parametrize(("schedule", "weight"), [("constant", 1.0), ("off", 0.0)])
def test_the_ablations_hold_their_weight(schedule: str, weight: float) -> None:
    config = LossConfig(region_schedule=schedule)  # type: ignore[arg-type]
    assert {region_weight(config, epoch, 20) for epoch in (0, 4, 5, 19)} == {weight}
    assert not any(detached_heads(config, epoch, 20) for epoch in range(20))


def test_after_the_fall_the_region_head_learns_alone_or_rests() -> None:
    assert [bool(detached_heads(LossConfig(), epoch, 20)) for epoch in (4, 5, 19)] == [False, True, True]
    assert not detached_heads(LossConfig(afterwards="freeze"), 10, 20)


def terms_in(epoch: int, config: LossConfig) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    answers = {"vad": torch.randn(6, 3), "region": torch.randn(6, 8), "category": torch.randn(6, 9)}
    targets = {"vad": torch.randn(6, 3), "region": torch.tensor([0, 1, -1, 2, 6, 3]), "category": torch.arange(6)}
    weights = {"region": torch.ones(8), "category": torch.ones(9)}
    return loss_terms(answers, targets, weights, config, epoch=epoch, num_epochs=20)


def test_terms_are_named_and_weighed() -> None:
    config = LossConfig(auxiliary={"category": 0.5})
    first, third = terms_in(0, config), terms_in(2, config)
    assert first.keys() == {"vad", "region", "category"}
    assert float(third["region"] / first["region"]) == pytest.approx(0.604)
    assert float(third["category"]) == float(first["category"])
    assert float(total(first)) == pytest.approx(sum(float(term) for term in first.values()))


def test_after_the_fall_the_term_stays_for_the_head_or_goes() -> None:
    assert float(terms_in(7, LossConfig())["region"]) == float(terms_in(0, LossConfig())["region"])
    assert terms_in(7, LossConfig(afterwards="freeze")).keys() == {"vad"}


def test_vad_and_region_are_not_auxiliary() -> None:
    with pytest.raises(ValueError, match="have their own terms"):
        LossConfig(auxiliary={"region": 1.0})
