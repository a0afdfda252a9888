"""Figures by hand, by slow twins and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.classification import MulticlassF1Score, MulticlassRecall
from torchmetrics.functional import concordance_corrcoef

from emosphere.metrics import calibrate_temperature, ccc, class_report, conformal_radius, known_ccc


def test_ccc_takes_population_moments() -> None:
    predicted = torch.tensor([[0.2], [0.4], [0.6], [0.8]])
    target = torch.tensor([[0.2], [0.5], [0.6], [1.0]])
    assert float(ccc(predicted, target)[0]) == pytest.approx(0.909091, abs=1e-6)


def test_ccc_agrees_with_torchmetrics_but_for_its_moments() -> None:
    predicted, target = torch.randn(5000, 3).double(), torch.randn(5000, 3).double() * 0.5
    torch.testing.assert_close(ccc(predicted, target), concordance_corrcoef(predicted, target), rtol=1e-3, atol=1e-3)


def test_ccc_does_not_suffer_from_a_large_offset() -> None:
    noise = torch.randn(1000, 1).double() * 1e-3
    assert float(ccc((noise + 0.5), (noise + 0.5))[0]) == pytest.approx(1.0, abs=1e-9)


def test_a_constant_prediction_agrees_with_nothing() -> None:
    assert float(ccc(torch.zeros(4, 1), torch.arange(4.0)[:, None])[0]) == 0
    assert float(ccc(torch.zeros(4, 1), torch.zeros(4, 1))[0]) == 0


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted two equal"):
        ccc(torch.zeros(0, 3), torch.zeros(0, 3))


def test_agreement_counts_what_is_rated() -> None:
    predicted, target = torch.randn(9, 4), torch.randn(9, 4)
    is_known = torch.zeros(9, 4, dtype=torch.bool)
    is_known[:, 0] = torch.arange(9) % 2 == 0
    is_known[4, 1] = True
    is_known[:, 3] = True
    found = known_ccc(predicted, torch.where(is_known, target, torch.nan), is_known)
    assert found.dtype == torch.float64
    for column, agreement in enumerate(found.tolist()):
        rows = [row for row in range(9) if bool(is_known[row, column])]
        if not rows:
            assert (column, math.isnan(agreement)) == (2, True)
            continue
        x, y = ([float(values[row, column]) for row in rows] for values in (predicted, target))
        mx, my = sum(x) / len(rows), sum(y) / len(rows)
        sxy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / len(rows)
        sxx, syy = sum((a - mx) ** 2 for a in x) / len(rows), sum((b - my) ** 2 for b in y) / len(rows)
        assert agreement == pytest.approx(2 * sxy / (sxx + syy + (mx - my) ** 2), abs=1e-12)
    assert found[1] == 0  # of one item nothing can be said


def test_a_full_mask_changes_no_bit() -> None:
    predicted, target = torch.randn(30, 3), torch.randn(30, 3)
    assert torch.equal(known_ccc(predicted, target, torch.ones(30, 3, dtype=torch.bool)), ccc(predicted, target))


def test_without_any_rating_there_is_no_agreement() -> None:
    nothing = torch.zeros(4, 3, dtype=torch.bool)
    assert known_ccc(torch.randn(4, 3), torch.full((4, 3), torch.nan), nothing).isnan().all()
    with pytest.raises(ValueError, match="wanted two equal"):
        known_ccc(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool))


def test_class_figures_by_hand() -> None:
    target = torch.tensor([0, 0, 0, 0, 3, 3])
    predicted = torch.tensor([0, 0, 0, 3, 3, 1])
    report = class_report(predicted, target, 8)
    assert report.confusion[0].tolist() == [3, 0, 0, 1, 0, 0, 0, 0]
    assert report.confusion[3].tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert int(report.confusion.sum()) == 6
    assert report.uar == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert report.accuracy == pytest.approx(4 / 6)
    assert report.macro_f1 == pytest.approx((6 / 7 + 0 + 2 / 4) / 3)


def test_class_figures_agree_with_torchmetrics() -> None:
    target, predicted = torch.randint(0, 8, (400,)), torch.randint(0, 8, (400,))
    report = class_report(predicted, target, 8)
    assert report.uar == pytest.approx(float(MulticlassRecall(8, average="macro")(predicted, target)), abs=1e-6)
    assert report.macro_f1 == pytest.approx(float(MulticlassF1Score(8, average="macro")(predicted, target)), abs=1e-6)


def test_without_items_there_is_nothing_to_compare() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match="no item has a class, so there is nothing to compare"):
        class_report(nothing, nothing, 8)


def test_the_temperature_is_found_again() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4000, 6) * 2
    labels = torch.distributions.Categorical(logits=logits).sample()
    assert calibrate_temperature(logits, labels) == pytest.approx(1.0, rel=0.08)
    assert calibrate_temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.08)


def test_without_any_class_nothing_is_calibrated() -> None:
    """A search over nothing would end at its upper border and flatten every probability."""
    with pytest.raises(ValueError, match="no item has a class, so there is nothing to calibrate by"):
        calibrate_temperature(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long))


def test_a_conformal_ball_holds_as_many_as_it_says() -> None:
    """Over many draws of 50 calibrating distances, a new one lies inside with 90 % or a little more."""
    torch.manual_seed(0)
    distances = torch.randn(4000, 51).abs()
    inside = [float(draw[50] <= conformal_radius(draw[:50])) for draw in distances]
    assert 0.89 <= sum(inside) / len(inside) <= 0.93
    # The plain 90 % quantile of so few would hold too little.
    assert conformal_radius(torch.arange(1.0, 51.0)) == 46
    assert conformal_radius(torch.ones(8)) == math.inf
