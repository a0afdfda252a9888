"""A dot per rated clip, and not too many."""

import numpy as np

from emosphere.plots.scatter import MOST_POINTS, scatter
from tests.emosphere.plots.elements import of_kind


def test_a_scatter_has_a_dot_per_rated_clip_in_its_place() -> None:
    dots = of_kind(scatter(np.array([-1.0, 1.0]), np.array([-1.0, 0.0]), title="valence"), "circle")
    assert [(dot.get("cx"), dot.get("cy")) for dot in dots] == [("46.0", "266.0"), ("286.0", "146.0")]


def test_another_scale_fills_the_same_square() -> None:
    picture = scatter(np.array([0.0, 10.0]), np.array([0.0, 5.0]), title="loudness", lowest=0, highest=10)
    dots = of_kind(picture, "circle")
    assert [(dot.get("cx"), dot.get("cy")) for dot in dots] == [("46.0", "266.0"), ("286.0", "146.0")]
    assert {"0", "2.5", "5", "7.5", "10"} <= {text.text for text in of_kind(picture, "text")}


def test_a_scatter_of_many_clips_is_thinned() -> None:
    many = np.linspace(-1, 1, 10 * MOST_POINTS)
    assert len(of_kind(scatter(many, many, title="x"), "circle")) == MOST_POINTS
