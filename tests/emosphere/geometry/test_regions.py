import itertools
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from emosphere.geometry import NUM_AZIMUTH_BINS, REGION_NAMES, centre, region_of

MAX32 = 3.4028234663852886e38
float32s = st.floats(allow_nan=False, allow_infinity=False, width=32)


def point(valence: float, arousal: float, dominance: float) -> Tensor:
    return torch.tensor([valence, arousal, dominance], dtype=torch.float64)


def from_angles(azimuth_deg: float, polar_deg: float) -> Tensor:
    azimuth, polar = math.radians(azimuth_deg), math.radians(polar_deg)
    planar = math.sin(polar)
    return point(planar * math.sin(azimuth), planar * math.cos(azimuth), math.cos(polar))


def textbook(valence: float, arousal: float, dominance: float, num_azimuth: int) -> tuple[int, float]:
    """Section 2.3 of design/method.md as printed, and how far (in steps) the point is from the nearest border."""
    step = 2 * math.pi / num_azimuth
    azimuth = math.atan2(valence, arousal) % (2 * math.pi) / step
    polar = math.atan2(math.hypot(arousal, valence), dominance) / step
    azimuth_bin = min(math.floor(azimuth), num_azimuth - 1)
    layer = min(max(math.ceil(polar) - 1, 0), num_azimuth // 2 - 1)
    return layer * num_azimuth + azimuth_bin, min(abs(azimuth - round(azimuth)), abs(polar - round(polar)))


@pytest.mark.parametrize(
    ("rating_avd", "region"),
    [
        ((7, 7, 7), 0),
        ((1, 7, 7), 1),
        ((1, 1, 7), 2),
        ((7, 1, 7), 3),
        ((7, 7, 1), 4),
        ((5, 3, 4.5), 3),
        ((4, 4, 4), 0),
        ((4, 4, 7), 0),
        ((4, 4, 1), 4),
        ((1, 4, 4), 1),
        ((4, 1, 4), 3),
        ((4, 7, 4), 0),
    ],
    ids=str,
)
def test_conformance_vectors(rating_avd: tuple[float, float, float], region: int) -> None:
    arousal, valence, dominance = (centre(float(rating), low=1.0, high=7.0) for rating in rating_avd)
    assert region_of(point(valence, arousal, dominance)).item() == region


@pytest.mark.parametrize("signs", list(itertools.product((-1.0, -0.0, 0.0, 1.0), repeat=3)), ids=str)
def test_names_of_the_eight_spell_the_signs_and_zero_counts_as_plus(signs: tuple[float, float, float]) -> None:
    valence, arousal, dominance = signs
    name = "".join(
        letter + ("-" if value < 0 else "+") for letter, value in (("A", arousal), ("V", valence), ("D", dominance))
    )
    assert REGION_NAMES[8][region_of(point(*signs)).item()] == name


def test_the_eight_equal_angular_binning_inside() -> None:
    vad = torch.rand(20_000, 3, dtype=torch.float64) * 2 - 1
    inside = [textbook(*row, num_azimuth=4)[0] for row in vad.tolist()]
    assert region_of(vad).tolist() == inside


@pytest.mark.parametrize("num_regions", [18, 32])
def test_the_finer_tables_equal_the_textbook_inside(num_regions: int) -> None:
    vad = (torch.rand(20_000, 3) * 2 - 1).double()
    for row, region in zip(vad.tolist(), region_of(vad, num_regions).tolist(), strict=True):
        slow, distance = textbook(*row, num_azimuth=NUM_AZIMUTH_BINS[num_regions])
        assert region == slow or distance < 1e-12


@pytest.mark.parametrize("num_regions", [18, 32])
def test_the_middle_of_every_region_has_its_own_index(num_regions: int) -> None:
    num_azimuth = NUM_AZIMUTH_BINS[num_regions]
    step = 360 / num_azimuth
    middles = [
        from_angles((azimuth + 0.5) * step, (polar + 0.5) * step)
        for polar in range(num_azimuth // 2)
        for azimuth in range(num_azimuth)
    ]
    assert region_of(torch.stack(middles), num_regions).tolist() == list(range(num_regions))


@pytest.mark.parametrize("num_regions", [18, 32])
def test_names_tell_the_ranges_of_the_region(num_regions: int) -> None:
    step = 360 // NUM_AZIMUTH_BINS[num_regions]
    assert REGION_NAMES[num_regions][0] == f"az000-0{step} pol000-0{step}"
    assert REGION_NAMES[num_regions][-1] == f"az{360 - step}-360 pol{180 - step}-180"


@pytest.mark.parametrize("num_regions", REGION_NAMES)
def test_every_region_has_a_name_of_its_own(num_regions: int) -> None:
    assert len(set(REGION_NAMES[num_regions])) == len(REGION_NAMES[num_regions]) == num_regions


# (arousal, valence) that lie exactly on the borders of 45 degrees; azimuth bin k begins at its lower border.
COMPASS = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]


@pytest.mark.parametrize(("azimuth_bin", "direction"), list(enumerate(COMPASS)), ids=str)
@pytest.mark.parametrize("length", [1.0, 0.1, 1 / 3, 1e-30, 1e30])
def test_a_border_belongs_to_the_bin_it_begins(azimuth_bin: int, direction: tuple[int, int], length: float) -> None:
    arousal, valence = (float(torch.tensor(part * length, dtype=torch.float32)) for part in direction)
    # Alone and in a batch: a vectorised loop and its tail may round an angle differently.
    batch = point(valence, arousal, -0.01 * length).expand(9, 3)
    assert region_of(batch, 32).tolist() == [16 + azimuth_bin] * 9
    assert region_of(batch[0], 32).item() == 16 + azimuth_bin


@pytest.mark.parametrize(
    ("arousal", "valence", "dominance", "polar_bin"),
    [
        pytest.param(0.0, 0.0, 1.0, 0, id="pole"),
        pytest.param(0.6, 0.0, 0.6, 0, id="45 degrees"),
        pytest.param(0.375, 0.5, 0.625, 0, id="45 degrees by Pythagoras"),
        pytest.param(0.375, 0.5, 0.62499994, 1, id="just below"),
        pytest.param(0.3, 0.2, 0.0, 1, id="90 degrees is the upper half"),
        pytest.param(0.3, 0.2, -1e-30, 2, id="just under the equator"),
        pytest.param(-0.375, -0.5, -0.625, 2, id="135 degrees"),
        pytest.param(-0.375, -0.5, -0.6250001, 3, id="just past 135 degrees"),
        pytest.param(0.0, 0.0, -1.0, 3, id="the other pole"),
    ],
)
def test_polar_bins_hold_their_upper_border(arousal: float, valence: float, dominance: float, polar_bin: int) -> None:
    assert region_of(point(valence, arousal, dominance), 32).item() // 8 == polar_bin


@pytest.mark.parametrize(
    ("azimuth_deg", "polar_deg", "region"),
    [(1, 1, 0), (59, 59, 0), (61, 59, 1), (179, 30, 2), (-179, 30, 3), (-1, 30, 5), (30, 61, 6), (30, 119, 6),
     (30, 121, 12), (-61, 150, 16), (-59, 179, 17)],
)  # fmt: skip
def test_known_points_of_the_eighteen(azimuth_deg: float, polar_deg: float, region: int) -> None:
    assert region_of(from_angles(azimuth_deg, polar_deg), 18).item() == region


@pytest.mark.parametrize(
    ("arousal", "valence", "azimuth_bin"), [(1, 0, 0), (-1, 0, 3), (0, 1, 1), (0, -1, 4), (0, 0, 0), (-1, -0.0, 3)]
)
def test_axes_in_the_eighteen(arousal: float, valence: float, azimuth_bin: int) -> None:
    assert region_of(point(valence, arousal, -1e-3), 18).item() % 6 == azimuth_bin


@pytest.mark.parametrize("num_regions", [8, 18, 32])
def test_the_exact_middle_falls_into_region_0(num_regions: int) -> None:
    assert region_of(torch.zeros(3), num_regions).item() == 0
    assert region_of(torch.tensor([-0.0, -0.0, -0.0]), num_regions).item() == 0


@given(st.tuples(float32s, float32s, float32s))
@example((MAX32, -MAX32, MAX32))
@example((1e30, 1e-30, -1e30))
@example((1e-45, -1e-45, -0.0))
def test_every_finite_point_has_a_region(vad: tuple[float, float, float]) -> None:
    """And the finer table agrees with the eight."""
    octant, fine = region_of(point(*vad), 8).item(), region_of(point(*vad), 32).item()
    assert 0 <= region_of(point(*vad), 18).item() < 18
    assert 0 <= fine < 32
    assert (fine // 8 >= 2) == (octant >= 4)
    if vad[0] != 0 and vad[1] != 0:
        assert fine % 8 // 2 == octant % 4


@given(st.tuples(*[st.floats(-1, 1, width=32)] * 3), st.sampled_from([8, 18, 32]), st.integers(-20, 20))
def test_the_radius_does_not_matter(vad: tuple[float, float, float], num_regions: int, exponent: int) -> None:
    near = region_of(point(*vad), num_regions)
    assert region_of(point(*vad) * 2.0**exponent, num_regions).item() == near.item()


def test_published_float32_values_decide() -> None:
    # In float32 both are one value, in float64 they lie on two sides of 45 degrees.
    vad = torch.tensor([0.7, 0.7 + 1e-12, -0.1], dtype=torch.float64)
    assert region_of(vad, 32).item() != region_of(vad.float(), 32).item() == 17


def test_an_unknown_number_of_regions_is_refused() -> None:
    with pytest.raises(ValueError, match="num_regions=12 is not one of 8, 18, 32"):
        region_of(torch.zeros(3), 12)


def test_batches_of_any_shape_keep_it() -> None:
    for num_regions in REGION_NAMES:
        assert region_of(torch.zeros(2, 0, 5, 3), num_regions).shape == (2, 0, 5)
