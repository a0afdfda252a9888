"""Cross entropy against labels, weighted against the imbalance of classes."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def class_weights(labels: Int[Tensor, "item"], num_classes: int) -> Float[Tensor, "num_classes"]:
    """``N / (K n_i)`` per class, 0 for a class that never occurs.

    N counts the items, K all classes, also the absent ones (as in the authors' training script).

    >>> class_weights(torch.tensor([0, 0, 0, 1]), 2).tolist()
    [0.6666666865348816, 2.0]
    """
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = len(labels) / (num_classes * counts)
    return torch.where(counts > 0, weights, 0.0).float()


def weighted_cross_entropy(
    logits: Float[Tensor, "batch class"],
    labels: Int[Tensor, "batch"],
    is_known: Bool[Tensor, "batch"],
    weights: Float[Tensor, "class"],
) -> Float[Tensor, ""]:
    """Weighted mean of ``-log softmax`` at the labels: sums of terms over sums of weights (EmoSphere-SER, equation 1).

    Items whose label is not known are left out; a batch without any other gives 0.
    """
    item_weights = torch.where(is_known, weights[labels], 0.0)
    losses = -logits.double().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    total = item_weights.sum()
    return (item_weights * losses).sum() / torch.where(total > 0, total, 1.0)
