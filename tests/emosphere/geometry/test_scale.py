import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emosphere.geometry import centre, uncentre


@pytest.mark.parametrize(
    ("rating", "low", "high", "centred"),
    [
        pytest.param(1.0, 1.0, 7.0, -1.0, id="low end of 1 to 7"),
        pytest.param(4.0, 1.0, 7.0, 0.0, id="middle of 1 to 7"),
        pytest.param(7.0, 1.0, 7.0, 1.0, id="high end of 1 to 7"),
        pytest.param(5.5, 1.0, 7.0, 0.5, id="inside 1 to 7"),
        pytest.param(3.0, 1.0, 5.0, 0.0, id="middle of 1 to 5"),
        pytest.param(0.25, 0.0, 1.0, -0.5, id="inside 0 to 1"),
    ],
)
def test_known_ratings(rating: float, low: float, high: float, centred: float) -> None:
    assert centre(rating, low=low, high=high) == centred
    assert uncentre(centred, low=low, high=high) == rating


def test_the_middle_is_exactly_zero_as_a_tensor_too() -> None:
    middle = centre(torch.tensor([4.0, 4.0], dtype=torch.float64), low=1.0, high=7.0)
    assert middle.tolist() == [0.0, 0.0]


@given(st.floats(1, 7))
def test_round_trip_returns_the_same_rating(rating: float) -> None:
    assert uncentre(centre(rating, low=1.0, high=7.0), low=1.0, high=7.0) == pytest.approx(rating, abs=1e-14)


@given(st.floats(-1, 1))
def test_the_scale_is_symmetric_about_its_middle(centred: float) -> None:
    above, below = uncentre(centred, low=1.0, high=7.0), uncentre(-centred, low=1.0, high=7.0)
    assert above + below == pytest.approx(8.0, abs=1e-14)


@pytest.mark.parametrize(("low", "high"), [(7.0, 1.0), (4.0, 4.0), (float("nan"), 1.0)])
def test_a_scale_without_length_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must be below high"):
        centre(1.0, low=low, high=high)
    with pytest.raises(ValueError, match="must be below high"):
        uncentre(1.0, low=low, high=high)
