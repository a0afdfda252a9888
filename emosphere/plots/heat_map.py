"""Which class is taken for which, as shaded tiles."""

from collections.abc import Sequence
from typing import Final

from emosphere.plots.svg import GREY, INK, PALE, svg, text

MOST_NAMED: Final = 12
"""More classes than these are numbered: their names would not find room."""


def heat_map(names: Sequence[str], counts: Sequence[Sequence[int]], *, noun: str, title: str) -> str:
    """Confusion: a row per true class that occurs, shaded by its share of the row, with the number of clips.

    ``noun``: what a class is called.
    """
    occurring = [row for row, line in enumerate(counts) if sum(line)]
    few = len(names) <= MOST_NAMED
    labels = list(names) if few else [str(index) for index in range(len(names))]
    tile, left, top = (62, 112, 64) if few else (24, 60, 64)
    parts = [
        text(left, 16, title, bold=True),
        text(left, 34, f"rows: true {noun}, columns: predicted, shade: share of the row", colour=GREY),
        *(text(left + (c + 0.5) * tile, top - 6, labels[c], anchor="middle") for c in range(len(names))),
    ]
    for place, row in enumerate(occurring):
        total = sum(counts[row])
        y = top + place * tile * 0.6
        parts.append(text(left - 6, y + tile * 0.3 + 4, f"{labels[row]} ({total})", anchor="end"))
        for column, count in enumerate(counts[row]):
            share = count / total
            ink = "#fff" if share > 0.5 else INK
            x = left + column * tile
            parts.append(
                f"<rect x='{x}' y='{y:.1f}' width='{tile}' height='{tile * 0.6:.1f}' fill='{_shade(share)}' "
                f"stroke='{GREY if row == column else PALE}'/>"
            )
            if count:
                size = 12 if few else 8
                parts.append(text(x + tile / 2, y + tile * 0.3 + 4, str(count), anchor="middle", colour=ink, size=size))
    return svg(left + tile * len(names) + 10, top + len(occurring) * tile * 0.6 + 10, parts, title)


def _shade(share: float) -> str:
    """White at 0, blue at 1."""
    white, blue = (255, 255, 255), (31, 90, 150)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(white, blue, strict=True))
