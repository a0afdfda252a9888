"""Pictures are well-formed, hold what they should, and stay inside themselves."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from emosphere.plots.charts import MOST_POINTS, Bar, heat_map, intervals, reliability_diagram, scatter


def of_kind(picture: str, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(kind))


def test_a_scatter_has_a_dot_per_rated_clip_in_its_place() -> None:
    dots = of_kind(scatter(np.array([-1.0, 1.0, math.nan]), np.array([-1.0, 0.0, 0.5]), title="valence"), "circle")
    assert [(dot.get("cx"), dot.get("cy")) for dot in dots] == [("46.0", "266.0"), ("286.0", "146.0")]


def test_a_scatter_of_many_clips_is_thinned() -> None:
    many = np.linspace(-1, 1, 10 * MOST_POINTS)
    assert len(of_kind(scatter(many, many, title="x"), "circle")) == MOST_POINTS


def test_a_heat_map_shows_the_rows_that_occur() -> None:
    picture = heat_map(["A", "B"], [[3, 1], [0, 0]], title="<regions>")
    assert len(of_kind(picture, "rect")) == 2
    words = [text.text for text in of_kind(picture, "text")]
    assert "A (4)" in words
    assert {"3", "1", "<regions>"} <= set(words)


def test_many_regions_are_numbered() -> None:
    names = [f"az{index}" for index in range(32)]
    words = [text.text for text in of_kind(heat_map(names, np.eye(32, dtype=int).tolist(), title="x"), "text")]
    assert "31 (1)" in words
    assert "az31" not in words


def test_empty_bins_have_no_dot() -> None:
    picture = reliability_diagram([0, 4], [None, 0.9], [None, 0.5], title="x")
    [dot] = of_kind(picture, "circle")
    assert (dot.get("cx"), dot.get("cy")) == ("262.0", "146.0")


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
