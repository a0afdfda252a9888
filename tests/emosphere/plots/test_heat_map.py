"""Regions by name where they are few, by number where they are many."""

import numpy as np

from emosphere.plots.heat_map import heat_map
from tests.emosphere.plots.elements import of_kind


def test_a_heat_map_shows_the_rows_that_occur() -> None:
    picture = heat_map(["A", "B"], [[3, 1], [0, 0]], noun="region", title="<regions>")
    assert len(of_kind(picture, "rect")) == 2
    words = [text.text for text in of_kind(picture, "text")]
    assert "A (4)" in words
    assert {"3", "1", "<regions>", "rows: true region, columns: predicted, shade: share of the row"} <= set(words)


def test_many_regions_are_numbered() -> None:
    names = [f"az{index}" for index in range(32)]
    words = [
        text.text for text in of_kind(heat_map(names, np.eye(32, dtype=int).tolist(), noun="region", title="x"), "text")
    ]
    assert "31 (1)" in words
    assert "az31" not in words
