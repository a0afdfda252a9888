"""Activations that may overwrite their input, which the caller made and will not read again."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


def activation_of(module: nn.Module) -> Activation:
    """GELU in place where ``module`` is the exact GELU (as in all published weights); else the module itself.

    >>> x = torch.tensor([-1.0, 2.0])
    >>> torch.equal(activation_of(nn.GELU())(x.clone()), nn.functional.gelu(x))
    True
    """
    # transformers has a class of its own for the same function.
    is_gelu = type(module).__name__ == "GELUActivation" or (
        isinstance(module, nn.GELU) and module.approximate == "none"
    )
    return cast(Activation, torch.ops.aten.gelu_.default) if is_gelu else module
