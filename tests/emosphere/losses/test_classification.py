"""Cross entropy by the design's vector and slow twins; who is left out."""

import math

import pytest
import torch

from emosphere.losses.classification import class_weights, weighted_cross_entropy

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0])
BOTH = torch.tensor([True, True])


def test_the_designs_vector() -> None:
    loss = weighted_cross_entropy(LOGITS, torch.tensor([0, 2]), BOTH, WEIGHTS)
    assert float(loss) == pytest.approx(1.289065, abs=1e-6)


def test_a_slow_twin_agrees() -> None:
    logits, labels, weights = torch.randn(11, 4), torch.randint(0, 4, (11,)), torch.rand(4)
    is_known = torch.rand(11) < 0.7
    assert 0 < int(is_known.sum()) < 11
    above = below = 0.0
    for row, label, known in zip(logits.tolist(), labels.tolist(), is_known.tolist(), strict=True):
        if known:
            share = math.exp(row[label]) / sum(math.exp(value) for value in row)
            above -= float(weights[label]) * math.log(share)
            below += float(weights[label])
    loss = weighted_cross_entropy(logits, labels, is_known, weights)
    assert float(loss) == pytest.approx(above / below, rel=1e-5)


def test_it_equals_torchs_own_where_every_item_has_a_class() -> None:
    logits, labels, weights = torch.randn(8, 3).double(), torch.randint(0, 3, (8,)), torch.rand(3).double() + 0.1
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    found = weighted_cross_entropy(logits, labels, torch.ones(8, dtype=torch.bool), weights)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("label", [0, 2])
def test_items_without_a_class_pull_at_nothing_whatever_stands_there(label: int) -> None:
    logits = LOGITS.clone().requires_grad_()
    labels, is_known = torch.tensor([0, label]), torch.tensor([True, False])
    weighted_cross_entropy(logits, labels, is_known, WEIGHTS).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0].abs().max() > 0
    assert logits.grad[1].abs().max() == 0


@pytest.mark.parametrize("num_items", [0, 2])
def test_a_batch_without_any_class_has_no_loss(num_items: int) -> None:
    logits = LOGITS[:num_items].clone().requires_grad_()
    loss = weighted_cross_entropy(logits, torch.tensor([0, 2])[:num_items], ~BOTH[:num_items], WEIGHTS)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_weights_are_inverse_frequencies_over_all_classes() -> None:
    weights = class_weights(torch.tensor([0] * 6 + [1] * 2), 4)
    assert weights.tolist() == pytest.approx([8 / (4 * 6), 8 / (4 * 2), 0, 0])


def test_a_full_mask_is_the_plain_weighted_mean_to_the_bit() -> None:
    logits, labels, weights = torch.randn(50, 6), torch.randint(0, 6, (50,)), torch.rand(6)
    losses = -logits.double().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    expected = (weights[labels] * losses).sum() / weights[labels].sum()
    assert torch.equal(weighted_cross_entropy(logits, labels, torch.ones(50, dtype=torch.bool), weights), expected)
