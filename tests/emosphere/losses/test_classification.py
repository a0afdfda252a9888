"""Cross entropy by the design's vector and slow twins; who is left out."""

import math

import pytest
import torch

from emosphere.losses.classification import class_weights, soft_cross_entropy, weighted_cross_entropy

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
    logits, labels, weights = torch.randn(8, 3), torch.randint(0, 3, (8,)), torch.rand(3) + 0.1
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, weights), expected.double())


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


def test_against_probabilities_a_slow_twin_agrees_and_the_least_is_their_entropy() -> None:
    torch.manual_seed(0)
    logits, probabilities = torch.randn(5, 3), torch.randn(5, 3).softmax(dim=1)
    labels = torch.tensor([0, 2, -1, 1, 1])
    slow = 0.0
    for row in (0, 1, 3, 4):  # the third has no class
        total = sum(math.exp(float(logit)) for logit in logits[row])
        for logit, probability in zip(logits[row], probabilities[row], strict=True):
            slow -= float(probability) * math.log(math.exp(float(logit)) / total) / 4
    assert float(soft_cross_entropy(logits, probabilities, labels)) == pytest.approx(slow, rel=1e-6)
    entropy = -(probabilities * probabilities.log()).sum(dim=1)[labels >= 0].mean()
    least = soft_cross_entropy(probabilities.log(), probabilities, labels)
    assert float(least) == pytest.approx(float(entropy), rel=1e-6)
    assert slow > entropy
    assert float(soft_cross_entropy(logits, probabilities, torch.full((5,), -1))) == 0


def test_against_certainty_it_is_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    certain = torch.nn.functional.one_hot(labels, 4).float()
    plain = torch.nn.functional.cross_entropy(logits, labels)
    assert float(soft_cross_entropy(logits, certain, labels)) == pytest.approx(float(plain), rel=1e-6)
