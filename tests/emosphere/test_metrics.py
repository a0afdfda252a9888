"""Figures by hand, by slow twins and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.classification import MulticlassF1Score, MulticlassRecall
from torchmetrics.functional import concordance_corrcoef

from emosphere.metrics import calibrate_temperature, ccc, class_report, conformal_radius


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
