"""Whether probabilities mean what they say, a dot per bin."""

import itertools
import math
from collections.abc import Sequence

from emosphere.plots.svg import BLUE, GREY, PALE, dot, line, svg, text


def reliability_diagram(
    clips: Sequence[int], promised: Sequence[float | None], came_true: Sequence[float | None], *, title: str
) -> str:
    """Share that came true against mean probability, a dot per bin with its number of clips; the diagonal is honest."""
    left, top, size = 46, 26, 240
    parts = [text(left + size / 2, 16, title, anchor="middle", bold=True)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = tick * size
        parts += [
            line(left + at, top, left + at, top + size, PALE),
            line(left, top + at, left + size, top + at, PALE),
            text(left + at, top + size + 16, f"{tick:g}", anchor="middle"),
            text(left - 6, top + size - at + 4, f"{tick:g}", anchor="end"),
        ]
    parts.append(line(left, top + size, left + size, top, GREY, dashed=True))
    filled = [
        (count, left + mean * size, top + (1 - share) * size)
        for count, mean, share in zip(clips, promised, came_true, strict=True)
        if mean is not None and share is not None
    ]
    for (_, x, y), (_, to_x, to_y) in itertools.pairwise(filled):
        parts.append(line(x, y, to_x, to_y, BLUE))
    for count, x, y in filled:
        radius = 3 + 6 * math.sqrt(count / max(clips))
        above = y - radius - 4 if y - radius > top + 14 else y + radius + 13
        parts += [dot(x, y, radius), text(x, above, str(count), anchor="middle", size=10)]
    parts += [
        text(left + size / 2, top + size + 34, "mean probability", anchor="middle"),
        f"<g transform='translate(12 {top + size / 2}) rotate(-90)'>{text(0, 0, 'came true', anchor='middle')}</g>",
    ]
    return svg(left + size + 14, top + size + 42, parts, title)
