"""Rating scales to and from the centred scale, on which 0 is the middle and the ends are -1 and 1."""

from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def centre(rating: Number, *, low: float, high: float) -> Number:
    """Rating on ``low..high`` -> centred, ``2 (y - low) / (high - low) - 1``.

    >>> centre(4.0, low=1.0, high=7.0)
    0.0
    """
    _check(low, high)
    return 2 * (rating - low) / (high - low) - 1


def uncentre(centred: Number, *, low: float, high: float) -> Number:
    """Inverse of :func:`centre`.

    >>> uncentre(-1.0, low=1.0, high=7.0)
    1.0
    """
    _check(low, high)
    return (centred + 1) * (high - low) / 2 + low


def _check(low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"low={low} must be below high={high}: the ends of the rating scale.")
