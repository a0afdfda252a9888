"""How far rounding may move an answer: bounds that follow from precision, width and depth, and hold on any processor.

Which instructions multiply and how many threads add decides in which order terms are summed, and so the last bits. Each
of n roundings moves a result by at most the unit roundoff u of its type, relative to its size, and as often up as down:
together by ``u sqrt(n)`` in the root mean square, whatever the order (Higham and Mary 2019, "A new approach to
probabilistic rounding error analysis", SIAM J. Sci. Comput. 41). Single values may lie ten times further out, where a
norm divides by next to nothing, and which ones do depends on the processor; so tensors are compared whole, by root
mean square. That hides no fault: in float64 one wrong frame among thousands stands out by ten powers of ten.
"""

import math
from typing import Any, Final

import numpy as np
import pandas
import torch
from torch import nn

SAFETY: Final = 2.0
"""Beyond what one rounding leaves on average, 0.4 u, and the layers behind it enlarge. Frames of 114 encoders with
random weights lay below 0.7 ``u sqrt(n)``, in float32 and in float64."""


def rounding_bound(dtype: torch.dtype, num_roundings: int, gain: float = 1.0) -> float:
    """Bound on :func:`deviation` after so many roundings to ``dtype``, one upon the other, enlarged by ``gain``."""
    return SAFETY * gain * torch.finfo(dtype).eps / 2 * math.sqrt(num_roundings)


def gain_of_norms(network: nn.Module) -> float:
    """By how much layer norms one behind the other, without residuals, enlarge an error in the root mean square.

    A norm divides by the deviation s of k values; of normal ones of deviation 1 the mean of ``1 / s**2`` is
    ``(k - 1) / (k - 3)``.
    """
    sizes = [math.prod(module.normalized_shape) for module in network.modules() if isinstance(module, nn.LayerNorm)]
    return math.sqrt(math.prod((size - 1) / (size - 3) for size in sizes))


def deviation(found: Any, wanted: Any) -> float:
    """Root mean square of ``found - wanted``, relative to that of ``wanted``. Tensors or arrays of one shape."""
    found, wanted = (np.asarray(values, dtype=np.float64) for values in (found, wanted))
    assert found.shape == wanted.shape
    return float(np.sqrt(np.square(found - wanted).sum() / np.square(wanted).sum()))


def assert_close(found: Any, wanted: Any, bound: float) -> None:
    """:func:`deviation` stays below ``bound``; a failure names both and the instructions torch multiplied by."""
    moved = deviation(found, wanted)
    assert moved < bound, (
        f"found a deviation of {moved:.3g}, wanted less than {bound:.3g}, "
        f"on a CPU of capability {torch.backends.cpu.get_cpu_capability()}"
    )


def assert_same_training(
    first: nn.Module, second: nn.Module, *, num_steps: int, rate: float, num_frames: int, batch_size: int
) -> None:
    """Weights that AdamW came to in so many steps of a constant ``rate``, over the same clips in another order.

    A step keeps only the proportion of a gradient to its own size: where rounding moves gradients by r, it moves the
    step by r / |g|, at most by two steps; sqrt(3.2 r) of a step in root mean square over normally distributed g. Not so
    the keys' bias, which softmax cancels: its gradient is nothing but rounding.

    ``num_frames``: of a clip, at most.
    """
    mine, other = (
        torch.cat([each.detach().flatten() for name, each in network.named_parameters() if "key.bias" not in name])
        for network in (first, second)
    )
    # There and back; frames are attended to twice, averaged once; gradients add up over those of all clips of a batch.
    rounded = rounding_bound(torch.float32, 2 * num_terms(first, 2 * 3 * num_frames) + batch_size * num_frames)
    assert_close(mine, other, num_steps * rate * math.sqrt(3.2 * rounded) / float(other.square().mean().sqrt()))


def num_terms(network: nn.Module, num_attended: int = 0) -> int:
    """Terms that are added one after the other on the way through all layers of ``network``, at most: a rounding each.

    ``num_attended``: frames that are attended to, summed over the layers. Layers side by side count as if one followed
    the other.
    """
    total = 2 * num_attended  # in the softmax, and over the values
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            total += module.weight[0].numel()
        elif isinstance(module, nn.LayerNorm):
            total += math.prod(module.normalized_shape)
    return total


def num_layers(network: nn.Module) -> int:
    """Modules with weights. In bfloat16, whose sums are taken in float32, each rounds twice: weights and result."""
    return sum(any(True for _ in module.parameters(recurse=False)) for module in network.modules())


def assert_same_rows(one: pandas.DataFrame, other: pandas.DataFrame) -> None:
    """Segments or recordings, batched otherwise: equal, but that scores may differ by 1e-4, as the contract allows.

    Angles may turn as far as that turns them, which near an axis is far: they are compared by the points that they and
    the radius give.
    """
    angles = [name for name in ("azimuth_deg", "polar_deg") if name in one]
    pandas.testing.assert_frame_equal(one.drop(columns=angles), other.drop(columns=angles), atol=1e-4)
    if angles:
        np.testing.assert_allclose(_points(one), _points(other), rtol=0, atol=2e-4)


def _points(rows: pandas.DataFrame) -> Any:
    azimuth, polar = np.radians(rows["azimuth_deg"].astype(float)), np.radians(rows["polar_deg"].astype(float))
    directions = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)
    return np.stack([rows["radius"].astype(float) * direction for direction in directions])
