"""A dot per bin that holds something."""

from emosphere.plots.reliability import reliability_diagram
from tests.emosphere.plots.elements import of_kind


def test_empty_bins_have_no_dot() -> None:
    picture = reliability_diagram([0, 4], [None, 0.9], [None, 0.5], title="x")
    [dot] = of_kind(picture, "circle")
    assert (dot.get("cx"), dot.get("cy")) == ("262.0", "146.0")
