"""How good predictions are: concordance per dimension, and recall per class."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from emosphere.losses.ccc import ccc as ccc_of_floats


def ccc(predicted: Float[Tensor, "item dim"], target: Float[Tensor, "item dim"]) -> Float[Tensor, "dim"]:
    """Concordance correlation per column in [-1, 1], population moments (divided by N), in float64.

    Lin (Biometrics, 1989). A column in which nothing varies gives 0. Raises ValueError for other or empty shapes.
    """
    if predicted.shape != target.shape or predicted.dim() != 2 or not len(predicted):
        raise ValueError(f"shapes {tuple(predicted.shape)} and {tuple(target.shape)}: wanted two equal (n, k), n > 0.")
    return ccc_of_floats(predicted.double(), target.double(), epsilon=1e-300)


def known_ccc(
    predicted: Float[Tensor, "item dim"], target: Float[Tensor, "item dim"], is_known: Bool[Tensor, "item dim"]
) -> Float[Tensor, "dim"]:
    """:func:`ccc` of each column over the items whose target is known there; NaN for a column without any."""
    if is_known.all():
        return ccc(predicted, target)
    columns = zip(predicted.T, target.T, is_known.T, strict=True)
    nothing = torch.full((1,), torch.nan, dtype=torch.float64, device=predicted.device)
    return torch.cat([ccc(x[rows, None], y[rows, None]) if rows.any() else nothing for x, y, rows in columns])


class ClassReport(NamedTuple):
    """Counts and figures of a classification."""

    confusion: Int[Tensor, "true predicted"]
    """Items by true and predicted class."""
    uar: float
    """Unweighted average recall over the classes that occur, in [0, 1]; chance is 1 / their number."""
    macro_f1: float
    """Mean F1 over the classes that occur or were predicted, in [0, 1]."""
    accuracy: float
    """Share of items in their own class."""


def class_report(predicted: Int[Tensor, "item"], target: Int[Tensor, "item"], num_classes: int) -> ClassReport:
    """Compare predicted with true classes. Raises ValueError without any item."""
    if not len(target):
        raise ValueError("no item has a class, so there is nothing to compare.")
    confusion = torch.bincount(target * num_classes + predicted, minlength=num_classes**2)
    confusion = confusion.reshape(num_classes, num_classes)
    uar, macro_f1, accuracy = class_scores(confusion.double())
    return ClassReport(confusion, float(uar), float(macro_f1), float(accuracy))


def class_scores(
    confusion: Float[Tensor, "*draw true predicted"],
) -> tuple[Float[Tensor, "*draw"], Float[Tensor, "*draw"], Float[Tensor, "*draw"]]:
    """UAR, macro-F1 and accuracy, as :class:`ClassReport` defines them, of counts by true and predicted class.

    NaN where a table is empty.
    """
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    true_counts, predicted_counts = confusion.sum(dim=-1), confusion.sum(dim=-2)
    # 0 / 0 is a class that does not occur (recall) or is not seen at all (F1): nanmean leaves it out.
    uar = (hits / true_counts).nanmean(dim=-1)
    macro_f1 = (2 * hits / (true_counts + predicted_counts)).nanmean(dim=-1)
    return uar, macro_f1, hits.sum(dim=-1) / true_counts.sum(dim=-1)


def calibrate_temperature(logits: Float[Tensor, "item class"], target: Int[Tensor, "item"]) -> float:
    """Divisor of the logits that minimises the negative log likelihood (Guo et al. 2017), within 0.05..20.

    Golden-section search on the log of the divisor: the likelihood has one optimum in its inverse. Raises ValueError
    without any item.
    """
    if not len(target):
        raise ValueError("no item has a class, so there is nothing to calibrate by.")
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        scaled = logits / torch.tensor(log_temperature, dtype=torch.float64).exp()
        return float(torch.nn.functional.cross_entropy(scaled, target))

    low, high = -3.0, 3.0
    ratio = (5**0.5 - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(torch.tensor((low + high) / 2).exp())


def conformal_radius(distances: Float[Tensor, "item"], coverage: float = 0.9) -> float:
    """Radius within which a new item's distance lies with probability ``coverage`` or more, if it is like these.

    Split conformal prediction (Vovk et al. 2005; Lei et al. 2018): of n distances between answer and target, on items
    used for nothing else, the ``ceil((n + 1) coverage)``-th smallest. Infinite where n is too small to say.

    >>> conformal_radius(torch.arange(1.0, 20.0))
    18.0
    """
    rank = math.ceil((len(distances) + 1) * coverage)
    return math.inf if rank > len(distances) else float(distances.double().sort().values[rank - 1])
