"""Published angles and regions follow from published VAD."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emosphere.geometry import REGION_NAMES
from emosphere.tables.vad_columns import located


def test_known_points():
    vad = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1], [0, 0, 0], [-0.5, -0.5, 0.5]], np.float32)
    columns = located(vad, None, 8)
    np.testing.assert_allclose(columns["azimuth_deg"], [0, 90, 0, 0, -135], atol=1e-5)
    np.testing.assert_allclose(columns["polar_deg"], [90, 90, 180, 0, 54.7356], atol=1e-4)
    assert list(columns["region_name"]) == ["A+V+D+", "A+V+D+", "A+V+D-", "A+V+D+", "A-V-D+"]
    assert columns["region_prob"][0] is None


def test_just_above_minus_180_stays_in_the_half_open_range():
    columns = located(np.array([[-1e-9, -1, 0]], np.float32), None, 8)
    assert columns["azimuth_deg"][0] == 180


@given(arrays(np.float32, (7, 3), elements=st.floats(-1, 1, width=32)))
def test_against_the_textbook(vad):
    probs = np.full((7, 8), 0.125, np.float32)
    columns = located(vad, probs, 8)
    for row, (valence, arousal, dominance) in enumerate(vad.astype(float)):
        radius = math.sqrt(valence**2 + arousal**2 + dominance**2)
        assert math.isclose(columns["radius"][row], radius, rel_tol=1e-6, abs_tol=1e-30)
        assert -180 < columns["azimuth_deg"][row] <= 180
        name = "".join(
            letter + ("+" if value >= 0 else "-")
            for letter, value in zip("AVD", (arousal, valence, dominance), strict=True)
        )
        assert columns["region_name"][row] == name == REGION_NAMES[8][columns["region"][row]]
        assert columns["region_prob"][row] == np.float32(0.125)
