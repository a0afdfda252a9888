import math
import sys

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from emosphere.geometry import SphericalVad, centre, direction_distance, from_spherical, to_spherical

PI = math.pi

# Section 10 of design/method.md: ratings on 1 to 7 as arousal, valence, dominance.
CONFORMANCE = [
    ((7, 7, 7), 1.7321, 0.7854, 0.9553),
    ((1, 7, 7), 1.7321, 2.3562, 0.9553),
    ((1, 1, 7), 1.7321, -2.3562, 0.9553),
    ((7, 1, 7), 1.7321, -0.7854, 0.9553),
    ((7, 7, 1), 1.7321, 0.7854, 2.1863),
    ((5, 3, 4.5), 0.5000, -0.7854, 1.2310),
    ((4, 4, 4), 0, 0, 0),
    ((4, 4, 7), 1, 0, 0),
    ((4, 4, 1), 1, 0, 3.1416),
    ((1, 4, 4), 1, 3.1416, 1.5708),
    ((4, 1, 4), 1, -1.5708, 1.5708),
    ((4, 7, 4), 1, 1.5708, 1.5708),
]

float32s = st.floats(allow_nan=False, allow_infinity=False, width=32)
vads = st.tuples(float32s, float32s, float32s)
centred_vads = st.tuples(*[st.floats(-1, 1, width=32)] * 3)
MAX32 = 3.4028234663852886e38


def point(valence: float, arousal: float, dominance: float) -> Tensor:
    return torch.tensor([valence, arousal, dominance], dtype=torch.float64)


def spherical(vad: tuple[float, float, float]) -> SphericalVad:
    return to_spherical(point(*vad))


def textbook(valence: float, arousal: float, dominance: float) -> tuple[float, float, float]:
    """The formulas of design/method.md 1.3 as printed there."""
    radius = math.sqrt(arousal**2 + valence**2 + dominance**2)
    if radius == 0:
        return 0.0, 0.0, 0.0
    azimuth = math.atan2(valence + 0.0, arousal + 0.0)
    return radius, azimuth, math.acos(max(-1.0, min(1.0, dominance / radius)))


@pytest.mark.parametrize(("rating_avd", "radius", "azimuth", "polar"), CONFORMANCE, ids=str)
def test_conformance_vectors(
    rating_avd: tuple[float, float, float], radius: float, azimuth: float, polar: float
) -> None:
    arousal, valence, dominance = (centre(float(rating), low=1.0, high=7.0) for rating in rating_avd)
    result = to_spherical(point(valence, arousal, dominance))
    assert [part.item() for part in result] == pytest.approx([radius, azimuth, polar], abs=5e-5)


def test_neutral_has_no_direction() -> None:
    assert [part.item() for part in to_spherical(torch.zeros(3))] == [0, 0, 0]


@pytest.mark.parametrize("signs", [(v, a, d) for v in (0.0, -0.0) for a in (0.0, -0.0) for d in (0.0, -0.0)])
def test_the_sign_of_a_zero_does_not_turn_the_point(signs: tuple[float, float, float]) -> None:
    assert [part.item() for part in spherical(signs)] == [0, 0, 0]


def test_a_negative_zero_of_valence_does_not_jump_to_minus_180_degrees() -> None:
    assert to_spherical(torch.tensor([-0.0, -1.0, 0.0])).azimuth_rad.item() == PI


@pytest.mark.parametrize("valence", [-5e-324, -1e-30, -1e-17])
def test_the_azimuth_of_minus_180_degrees_is_written_180(valence: float) -> None:
    azimuth_rad = spherical((valence, -1.0, 0.0)).azimuth_rad
    assert azimuth_rad.item() == PI


def test_batches_of_any_shape_keep_it_and_come_out_as_float64() -> None:
    result = to_spherical(torch.zeros(2, 0, 5, 3))
    assert all(part.shape == (2, 0, 5) and part.dtype == torch.float64 for part in result)


def test_a_point_does_not_depend_on_its_batch() -> None:
    batch = torch.randn(37, 3)
    together = to_spherical(batch)
    for index, alone in enumerate(batch):
        for whole, single in zip(together, to_spherical(alone), strict=True):
            assert whole[index].item() == pytest.approx(single.item(), abs=1e-14)


@given(centred_vads)
def test_it_agrees_with_the_textbook(vad: tuple[float, float, float]) -> None:
    radius, azimuth, polar = (part.item() for part in spherical(vad))
    slow_radius, slow_azimuth, slow_polar = textbook(*vad)
    assert radius == pytest.approx(slow_radius, rel=1e-12, abs=1e-150)
    if slow_radius > 1e-150:  # below, the textbook's squares vanish
        assert math.cos(azimuth - slow_azimuth) == pytest.approx(1, abs=1e-12)
        # acos is blind near the poles (its slope there is infinite), so the twins meet only to 1e-7.
        assert polar == pytest.approx(slow_polar, abs=1e-7)


@given(vads)
@example((MAX32, MAX32, MAX32))
@example((-MAX32, MAX32, -MAX32))
@example((1e30, -1e30, 1e30))
@example((1e-30, 1e-30, -1e-30))
@example((1e30, 1e-30, -0.0))
@example((1e-45, 0.0, -1e-45))
@example((-0.0, -0.0, -0.0))
def test_every_finite_input_is_finite_and_in_range(vad: tuple[float, float, float]) -> None:
    for batch in (point(*vad), point(*vad).float(), point(*vad).expand(9, 3)):
        radius, azimuth, polar = to_spherical(batch)
        assert radius.isfinite().all()
        assert (radius >= 0).all()
        assert ((azimuth > -PI) & (azimuth <= PI)).all()
        assert ((polar >= 0) & (polar <= PI)).all()


@given(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3))
@example((sys.float_info.max, sys.float_info.max, -sys.float_info.max))
@example((5e-324, -5e-324, 5e-324))
def test_float64_is_never_nan_either(vad: tuple[float, float, float]) -> None:
    assert not any(part.isnan().any() for part in spherical(vad))


@given(vads)
def test_round_trip_returns_the_same_vad(vad: tuple[float, float, float]) -> None:
    there = spherical(vad)
    back = from_spherical(there)
    assert back.tolist() == pytest.approx(list(vad), abs=max(1e-14 * there.radius.item(), 1e-300))


@given(centred_vads, st.floats(1e-3, 1e3))
def test_scaling_a_point_scales_its_radius_and_keeps_its_direction(
    vad: tuple[float, float, float], factor: float
) -> None:
    near, far = to_spherical(point(*vad)), to_spherical(point(*vad) * factor)
    assert far.radius.item() == pytest.approx(factor * near.radius.item(), rel=1e-12, abs=1e-300)
    if near.radius > 1e-100:
        assert direction_distance(near, far).item() == pytest.approx(0, abs=1e-12)


@given(centred_vads)
def test_turning_valence_over_turns_the_azimuth_over(vad: tuple[float, float, float]) -> None:
    valence, arousal, dominance = vad
    there, mirrored = spherical(vad), spherical((-valence, arousal, dominance))
    assert mirrored.radius.item() == there.radius.item()
    assert mirrored.polar_rad.item() == there.polar_rad.item()
    assert math.cos(mirrored.azimuth_rad.item() + there.azimuth_rad.item()) == pytest.approx(1, abs=1e-12)


@given(centred_vads)
def test_turning_dominance_over_turns_the_polar_angle_over(vad: tuple[float, float, float]) -> None:
    valence, arousal, dominance = vad
    there, mirrored = spherical(vad), spherical((valence, arousal, -dominance))
    if there.radius > 0:
        assert mirrored.polar_rad.item() == pytest.approx(PI - there.polar_rad.item(), abs=1e-14)


AXES = {
    "+valence": (1, 0, 0),
    "-valence": (-1, 0, 0),
    "+arousal": (0, 1, 0),
    "-arousal": (0, -1, 0),
    "+dominance": (0, 0, 1),
    "-dominance": (0, 0, -1),
}


@pytest.mark.parametrize("one", AXES)
@pytest.mark.parametrize("other", AXES)
def test_axes_are_a_quarter_turn_apart_and_opposite_ones_half_a_turn(one: str, other: str) -> None:
    expected = 0 if one == other else PI if one[1:] == other[1:] else PI / 2
    assert direction_distance(spherical(AXES[one]), spherical(AXES[other])).item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("one", "other", "angle"),
    [
        pytest.param((1, 1, 0), (1, 0, 0), PI / 4, id="half way between two axes"),
        pytest.param((1, 1, 1), (0, 0, 1), math.acos(1 / math.sqrt(3)), id="corner to pole"),
        pytest.param((1, 1, 1), (-1, -1, -1), PI, id="opposite corners"),
        pytest.param((0.1, 0.1, 0.1), (1, 1, 1), 0, id="radii do not matter"),
        pytest.param((0, 0, 0), (0, 0, 1), 0, id="the middle counts as +dominance"),
    ],
)
def test_known_distances(one: tuple[float, float, float], other: tuple[float, float, float], angle: float) -> None:
    assert direction_distance(spherical(one), spherical(other)).item() == pytest.approx(angle, abs=1e-15)


@pytest.mark.parametrize("angle", [1e-3, 1e-8, 1e-12, 1e-16])
def test_small_and_nearly_opposite_distances_keep_their_digits(angle: float) -> None:
    start = SphericalVad(*torch.tensor([1.0, 0.0, PI / 2], dtype=torch.float64))
    near = SphericalVad(*torch.tensor([1.0, angle, PI / 2], dtype=torch.float64))
    opposite = SphericalVad(*torch.tensor([1.0, PI - angle, PI / 2], dtype=torch.float64))
    assert direction_distance(start, near).item() == pytest.approx(angle, rel=1e-9)
    assert direction_distance(start, opposite).item() == pytest.approx(PI - angle, abs=1e-15)


@given(centred_vads, centred_vads)
def test_distance_is_symmetric_and_agrees_with_the_dot_product(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> None:
    there = direction_distance(spherical(one), spherical(other)).item()
    back = direction_distance(spherical(other), spherical(one)).item()
    assert 0 <= there <= PI
    assert there == pytest.approx(back, abs=1e-14)
    lengths = textbook(*one)[0] * textbook(*other)[0]
    if lengths > 1e-100:
        dot = sum(left * right for left, right in zip(one, other, strict=True)) / lengths
        assert math.cos(there) == pytest.approx(dot, abs=1e-12)
