"""Terms to a loss: their sum, or weights that are learnt."""

import math

import pytest
import torch

from emosphere.training.balance import LearntWeights, NoBalanceConfig, UncertaintyConfig


def test_without_a_balance_the_loss_is_the_sum() -> None:
    balance = NoBalanceConfig().build(["vad", "region"])
    assert float(balance({"vad": torch.tensor(2.0), "region": torch.tensor(3.0)})) == 5
    assert not list(balance.parameters())


def test_learnt_weights_are_kendalls() -> None:
    weights = UncertaintyConfig().build(["vad", "region"])
    assert isinstance(weights, LearntWeights)
    with torch.no_grad():
        weights.log_variances["vad"].fill_(0.7)
    loss = weights({"vad": torch.tensor(2.0), "region": torch.tensor(3.0)})
    assert float(loss.detach()) == pytest.approx(math.exp(-0.7) * 2 + 0.7 + 3)
    loss.backward()
    assert float(weights.log_variances["vad"].grad) == pytest.approx(1 - 2 * math.exp(-0.7), rel=1e-4)
    assert float(weights.log_variances["region"].grad) == pytest.approx(1 - 3)


def test_a_term_that_is_absent_takes_its_variance_with_it() -> None:
    weights = LearntWeights(["vad", "region"])
    loss = weights({"vad": torch.tensor(2.0)})
    loss.backward()
    assert float(loss.detach()) == 2
    assert weights.log_variances["region"].grad is None


def test_a_term_without_a_label_says_nothing_of_its_variance() -> None:
    """All ranks have a gradient to average, though one may know labels where another does not."""
    weights = LearntWeights(["vad", "region"])
    weights({"vad": torch.tensor(2.0), "region": torch.tensor(0.0)}, {"region"}).backward()
    assert float(weights.log_variances["vad"].grad) == -1
    assert float(weights.log_variances["region"].grad) == 0
