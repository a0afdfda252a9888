"""Concordance by known points, by its laws and by a slow twin."""

from typing import Literal

import pytest
import torch

from emosphere.losses.ccc import EPSILON, ccc, ccc_loss

P = torch.tensor([[0.2], [0.4], [0.6], [0.8]])


@pytest.mark.parametrize(
    ("target", "expected"),
    [([0.1, 0.4, 0.5, 0.9], 0.943396), ([0.2, 0.5, 0.6, 1.0], 0.909091)],
    ids=["equal means", "other mean: population, not sample, moments"],
)
def test_the_designs_vectors(target: list[float], expected: float) -> None:
    assert float(ccc(P, torch.tensor(target)[:, None])[0]) == pytest.approx(expected, abs=1e-6)


def test_a_slow_twin_agrees() -> None:
    predicted, target = torch.rand(17, 3).double(), torch.rand(17, 3).double()
    for column, agreement in enumerate(ccc(predicted, target)):
        x, y = predicted[:, column].tolist(), target[:, column].tolist()
        mx, my = sum(x) / 17, sum(y) / 17
        sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / 17
        sxx, syy = sum((a - mx) ** 2 for a in x) / 17, sum((b - my) ** 2 for b in y) / 17
        assert float(agreement) == pytest.approx(2 * sxy / (sxx + syy + (mx - my) ** 2), abs=1e-6)


def test_one_affine_map_of_both_changes_nothing() -> None:
    predicted, target = torch.rand(30, 2).double(), torch.rand(30, 2).double()
    torch.testing.assert_close(ccc(predicted, target), ccc(-6 * predicted + 1, -6 * target + 1), rtol=1e-6, atol=1e-7)


def test_perfect_is_one_and_the_mirror_image_minus_one() -> None:
    values = torch.linspace(-1, 1, 9)[:, None]
    assert float(ccc(values, values)[0]) == pytest.approx(1, abs=1e-6)
    assert float(ccc(-values, values)[0]) == pytest.approx(-1, abs=1e-6)


def test_constants_give_zero_and_a_finite_gradient() -> None:
    predicted = torch.zeros(4, 3, requires_grad=True)
    loss = ccc_loss(predicted, torch.zeros(4, 3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 3
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_the_loss_sums_over_dimensions_and_lies_in_0_to_6() -> None:
    values = torch.linspace(-1, 1, 9)[:, None].expand(9, 3)
    assert float(ccc_loss(values, values)) == pytest.approx(0, abs=1e-5)
    assert float(ccc_loss(-values, values)) == pytest.approx(6, abs=1e-5)


def test_the_gradient_has_its_closed_form() -> None:
    """dCCC/dx_i = 2 / (N D) [(y_i - m_y) - CCC (x_i - m_x)  - CCC (m_x - m_y)], that is with (x_i - m_y)."""
    x, y = torch.rand(9, 1).double().requires_grad_(), torch.rand(9, 1).double()
    value = ccc(x, y)
    value.sum().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        denominator = x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()) ** 2 + 1e-8
        expected = 2 / (9 * denominator) * ((y - y.mean()) - value * (x - y.mean()))
    torch.testing.assert_close(x.grad, expected)


def masked(num_items: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predicted, target and mask: a column rated by most, one by one item, one by nobody, one by all."""
    predicted, target = torch.randn(num_items, 4).double(), torch.randn(num_items, 4).double()
    is_known = torch.zeros(num_items, 4, dtype=torch.bool)
    is_known[:, 0] = torch.arange(num_items) % 3 > 0
    is_known[2:3, 1] = True
    is_known[:, 3] = True
    return predicted.requires_grad_(), target, is_known


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_slow_twin_agrees_on_what_is_rated(reduction: Literal["sum", "mean"]) -> None:
    predicted, target, is_known = masked()
    losses = []
    for column in range(4):
        rows = [row for row in range(12) if bool(is_known[row, column])]
        if not rows:
            continue
        x, y = ([float(values[row, column].detach()) for row in rows] for values in (predicted, target))
        mx, my = sum(x) / len(rows), sum(y) / len(rows)
        sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / len(rows)
        sxx, syy = sum((a - mx) ** 2 for a in x) / len(rows), sum((b - my) ** 2 for b in y) / len(rows)
        losses.append(1 - 2 * sxy / (sxx + syy + (mx - my) ** 2 + EPSILON))
    assert len(losses) == 3
    assert losses[1] == 1  # one item has no spread: it agrees with nothing, and disagrees with nothing
    expected = sum(losses) / (1 if reduction == "sum" else 3)
    assert float(ccc_loss(predicted, target, is_known, reduction=reduction).detach()) == pytest.approx(expected)


def test_what_is_not_rated_is_not_pulled_whatever_stands_there() -> None:
    predicted, target, is_known = masked()
    spoilt = torch.where(is_known, target, torch.nan)
    losses = [ccc_loss(predicted, values, is_known) for values in (target, spoilt)]
    assert torch.equal(*losses)
    losses[1].backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[~is_known] == 0).all()
    assert (predicted.grad[:, [0, 3]][is_known[:, [0, 3]]] != 0).all()
    assert (predicted.grad[:, 1] == 0).all()  # of one item nothing can be said


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("num_items", [0, 1, 5])
def test_a_batch_without_any_rating_has_no_loss_and_pulls_at_nothing(
    num_items: int, reduction: Literal["sum", "mean"]
) -> None:
    predicted = torch.randn(num_items, 3, requires_grad=True)
    nothing = torch.zeros(num_items, 3, dtype=torch.bool)
    loss = ccc_loss(predicted, torch.full((num_items, 3), torch.nan), nothing, reduction=reduction)
    loss.backward()  # type: ignore[no-untyped-call]
    assert (float(loss.detach()), loss.dtype, loss.shape) == (0.0, torch.float64, ())
    assert predicted.grad is not None
    assert (predicted.grad == 0).all()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_full_mask_changes_no_bit(reduction: Literal["sum", "mean"]) -> None:
    given, target = torch.randn(40, 3) + 7, torch.randn(40, 3)
    found = []
    for is_known in (None, torch.ones(40, 3, dtype=torch.bool)):
        predicted = given.clone().requires_grad_()
        loss = ccc_loss(predicted, target, is_known, reduction=reduction)
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((loss.detach(), predicted.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])  # type: ignore[arg-type]
