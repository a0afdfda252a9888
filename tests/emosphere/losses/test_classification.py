"""Cross entropy by the design's vector and slow twins; who is left out."""

import math

import pytest
import torch

from emosphere.losses.classification import class_weights, weighted_cross_entropy

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0])


def test_the_designs_vector() -> None:
    assert float(weighted_cross_entropy(LOGITS, torch.tensor([0, 2]), WEIGHTS)) == pytest.approx(1.289065, abs=1e-6)


def test_a_slow_twin_agrees() -> None:
    logits, labels, weights = torch.randn(11, 4), torch.randint(-1, 4, (11,)), torch.rand(4)
    above = below = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        if label >= 0:
            share = math.exp(row[label]) / sum(math.exp(value) for value in row)
            above -= float(weights[label]) * math.log(share)
            below += float(weights[label])
    assert float(weighted_cross_entropy(logits, labels, weights)) == pytest.approx(above / below, rel=1e-5)


def test_it_equals_torchs_own_where_every_item_has_a_class() -> None:
    logits, labels, weights = torch.randn(8, 3).double(), torch.randint(0, 3, (8,)), torch.rand(3).double() + 0.1
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, weights), expected, rtol=1e-14, atol=0)


def test_neutral_items_pull_at_nothing() -> None:
    logits = LOGITS.clone().requires_grad_()
    weighted_cross_entropy(logits, torch.tensor([0, -1]), WEIGHTS).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0].abs().max() > 0
    assert logits.grad[1].abs().max() == 0


def test_a_batch_of_neutral_items_has_no_loss() -> None:
    assert float(weighted_cross_entropy(LOGITS, torch.tensor([-1, -1]), WEIGHTS)) == 0


def test_weights_are_inverse_frequencies_over_all_classes() -> None:
    weights = class_weights(torch.tensor([0] * 6 + [1] * 2 + [-1] * 5), 4)
    assert weights.tolist() == pytest.approx([8 / (4 * 6), 8 / (4 * 2), 0, 0])
