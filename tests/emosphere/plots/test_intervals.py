"""All panels share one axis, and nothing leaves the picture."""

import math
import xml.etree.ElementTree as ElementTree

import pytest

from emosphere.plots.intervals import Bar, intervals
from tests.emosphere.plots.elements import of_kind


def test_intervals_stand_on_one_axis_and_say_where_there_is_none() -> None:
    bars = [
        Bar("corpus", ()),
        Bar("a & b", [(0.5, 0.25, 0.75), None]),
        Bar("c", [(0.1, math.nan, math.nan), (1, 1, 1)]),
    ]
    picture = intervals(["V", "A"], bars, title="x")
    assert len(of_kind(picture, "circle")) == 3
    words = [text.text for text in of_kind(picture, "text")]
    assert {"corpus", "a & b", "none", "0.50"} <= set(words)
    root = ElementTree.fromstring(picture)
    width = float(root.get("width", 0))
    assert all(0 <= float(line.get(end, 0)) <= width for line in root.iter("line") for end in ("x1", "x2"))


@pytest.mark.parametrize("span", [0.0, 1e-3, 0.01, 0.3, 1.0, 1.7])
def test_axes_have_a_few_round_ticks_whatever_the_span(span: float) -> None:
    bars = [Bar("x", [(span / 2, -span / 2, span)])]
    lines = [line for line in of_kind(intervals(["p"], bars, title="x"), "line") if line.get("stroke-width") == "1"]
    assert 3 <= len(lines) <= 9
