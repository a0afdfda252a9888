"""Random state that can be wound back, so that a second pass draws what the first one drew."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class RandomState(NamedTuple):
    """Of torch, of its accelerator, and of NumPy: SpecAugment of transformers draws from the last."""

    torch: Tensor
    cuda: list[Tensor]
    numpy: Any


def random_state() -> RandomState:
    """The state now."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return RandomState(torch.get_rng_state(), cuda, np.random.get_state())


def wind_back(state: RandomState) -> None:
    """Make the next draws those that followed ``state``."""
    torch.set_rng_state(state.torch)
    if state.cuda:
        torch.cuda.set_rng_state_all(state.cuda)
    np.random.set_state(state.numpy)
