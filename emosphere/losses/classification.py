"""Cross entropy against labels, weighted against the imbalance of classes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def class_weights(labels: Int[Tensor, "item"], num_classes: int) -> Float[Tensor, "num_classes"]:
    """``N / (K n_i)`` per class, 0 for a class that never occurs; negative labels (no class) are not counted.

    N counts the labelled items, K all classes, also the absent ones (as in the authors' training script).

    >>> class_weights(torch.tensor([0, 0, 0, 1, -1]), 2).tolist()
    [0.6666666865348816, 2.0]
    """
    labels = labels[labels >= 0]
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = len(labels) / (num_classes * counts)
    return torch.where(counts > 0, weights, 0.0).float()


def weighted_cross_entropy(
    logits: Float[Tensor, "batch class"], labels: Int[Tensor, "batch"], weights: Float[Tensor, "class"]
) -> Float[Tensor, ""]:
    """Weighted mean of ``-log softmax`` at the labels: sums of terms over sums of weights (EmoSphere-SER, equation 1).

    Items with a negative label belong to no class and are left out; a batch without any labelled item gives 0.
    """
    has_class = labels >= 0
    picked = labels.clamp(min=0)
    item_weights = torch.where(has_class, weights[picked], 0.0)
    losses = -logits.double().log_softmax(dim=1).gather(1, picked[:, None])[:, 0]
    total = item_weights.sum()
    return (item_weights * losses).sum() / torch.where(total > 0, total, 1.0)
