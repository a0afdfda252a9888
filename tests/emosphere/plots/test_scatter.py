"""A dot per rated clip, and not too many."""

import math

import numpy as np

from emosphere.plots.scatter import MOST_POINTS, scatter
from tests.emosphere.plots.elements import of_kind


def test_a_scatter_has_a_dot_per_rated_clip_in_its_place() -> None:
    dots = of_kind(scatter(np.array([-1.0, 1.0, math.nan]), np.array([-1.0, 0.0, 0.5]), title="valence"), "circle")
    assert [(dot.get("cx"), dot.get("cy")) for dot in dots] == [("46.0", "266.0"), ("286.0", "146.0")]


def test_a_scatter_of_many_clips_is_thinned() -> None:
    many = np.linspace(-1, 1, 10 * MOST_POINTS)
    assert len(of_kind(scatter(many, many, title="x"), "circle")) == MOST_POINTS
