"""Layer norm with its weights held in the precision that it runs in."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Norm:
    """``nn.LayerNorm`` over the last axis, without a module's per-call cost; sums are taken in float32 or better."""

    def __init__(self, norm: nn.Module, dtype: torch.dtype) -> None:
        module = cast(Any, norm)
        self._shape = tuple(module.normalized_shape)
        self._weight, self._bias = module.weight.detach().to(dtype), module.bias.detach().to(dtype)
        self._eps = float(module.eps)

    def __call__(self, values: Float[Tensor, "*rows feature"]) -> Float[Tensor, "*rows feature"]:
        return nn.functional.layer_norm(values, self._shape, self._weight, self._bias, self._eps)
