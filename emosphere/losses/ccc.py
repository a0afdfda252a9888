"""Concordance correlation over a batch, and the loss made of it."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

EPSILON = 1e-8
"""Added to the denominator, as in the authors' code: a constant prediction of a constant target gives 0, not NaN."""

Reduction = Literal["sum", "mean"]


def ccc(
    predicted: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"], *, epsilon: float = EPSILON
) -> Float[Tensor, "dim"]:
    """Agreement per column, in [-1, 1]; 1 is perfect.

    Lin (Biometrics, 1989), moments over the batch divided by N: ``2 cov / (var + var + (mean - mean)^2 + epsilon)``.
    Unchanged by one affine map applied to both.
    """
    predicted_mean, target_mean = predicted.mean(dim=0), target.mean(dim=0)
    covariance = ((predicted - predicted_mean) * (target - target_mean)).mean(dim=0)
    spread = predicted.var(dim=0, correction=0) + target.var(dim=0, correction=0)
    shift = (predicted_mean - target_mean).square()
    return 2 * covariance / (spread + shift + epsilon)


def ccc_loss(
    predicted: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    is_known: Bool[Tensor, "batch dim"] | None = None,
    *,
    reduction: Reduction = "sum",
) -> Float[Tensor, ""]:
    """Sum or mean over columns of ``1 - ccc``: 0 to 2 per column (EmoSphere-SER, eq. 2 with its missing "1 -").

    Each column is taken over the items whose target ``is_known`` there; one without any adds nothing, and the mean is
    over the others. In float64: moments of float32 values far from 0 with little spread lose digits.
    """
    predicted, target = predicted.double(), target.double()
    if is_known is None or (len(is_known) and is_known.all()):
        losses = 1 - ccc(predicted, target)
    else:
        columns = zip(predicted.T, target.T, is_known.T, strict=True)
        parts = [1 - ccc(x[rows, None], y[rows, None]) for x, y, rows in columns if rows.any()]
        losses = torch.cat(parts) if parts else predicted[:0].flatten()  # whose sum is 0, and has a gradient
    return losses.sum() if reduction == "sum" or not len(losses) else losses.mean()
