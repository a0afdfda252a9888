"""Small pictures as SVG text: no script, no font, no address of anywhere else."""

import html
import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

INK: Final = "#222"
GREY: Final = "#999"
PALE: Final = "#ddd"
BLUE: Final = "#1f5a96"
FONT: Final = "font-family='sans-serif' font-size='12'"
MOST_POINTS: Final = 3000
"""More points than this would make the page heavy; an even sample of the rows stands for them."""


class Bar(NamedTuple):
    """One line of an interval picture."""

    label: str
    """Empty values make it a heading."""
    values: Sequence[tuple[float, float, float] | None]
    """Value, low, high per panel; None where it is not defined."""


def scatter(target: Float64, predicted: Float64, *, title: str) -> str:
    """Wanted against answered on the centred scale, rows with a NaN target left out; the diagonal is perfection."""
    rated = np.flatnonzero(~np.isnan(target))
    rows = rated[:: max(1, math.ceil(len(rated) / MOST_POINTS))]
    left, top, size = 46, 26, 240

    def x(value: float) -> float:
        return left + (value + 1) / 2 * size

    def y(value: float) -> float:
        return top + (1 - value) / 2 * size

    parts = [_text(left + size / 2, 16, title, anchor="middle", bold=True)]
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0):
        parts += [
            _line(x(tick), top, x(tick), top + size, PALE),
            _line(left, y(tick), left + size, y(tick), PALE),
            _text(x(tick), top + size + 16, f"{tick:g}", anchor="middle"),
            _text(left - 6, y(tick) + 4, f"{tick:g}", anchor="end"),
        ]
    parts += [
        _line(x(-1), y(-1), x(1), y(1), GREY, dashed=True),
        *(_dot(x(target[row]), y(predicted[row]), 2.2, opacity=0.35) for row in rows),
        _text(left + size / 2, top + size + 34, "target", anchor="middle"),
        f"<g transform='translate(12 {top + size / 2}) rotate(-90)'>{_text(0, 0, 'predicted', anchor='middle')}</g>",
    ]
    return _svg(left + size + 14, top + size + 42, parts, f"{title}: target against prediction")


def heat_map(names: Sequence[str], counts: Sequence[Sequence[int]], *, title: str) -> str:
    """Confusion: a row per true region that occurs, shaded by its share of the row, clips in the cells."""
    occurring = [row for row, line in enumerate(counts) if sum(line)]
    few = len(names) <= 8
    labels = list(names) if few else [str(index) for index in range(len(names))]
    tile, left, top = (62, 112, 64) if few else (24, 60, 64)
    parts = [
        _text(left, 16, title, bold=True),
        _text(left, 34, "rows: true region, columns: predicted, shade: share of the row", colour=GREY),
        *(_text(left + (c + 0.5) * tile, top - 6, labels[c], anchor="middle") for c in range(len(names))),
    ]
    for place, row in enumerate(occurring):
        total = sum(counts[row])
        y = top + place * tile * 0.6
        parts.append(_text(left - 6, y + tile * 0.3 + 4, f"{labels[row]} ({total})", anchor="end"))
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
                parts.append(
                    _text(x + tile / 2, y + tile * 0.3 + 4, str(count), anchor="middle", colour=ink, size=size)
                )
    return _svg(left + tile * len(names) + 10, top + len(occurring) * tile * 0.6 + 10, parts, title)


def reliability_diagram(
    clips: Sequence[int], promised: Sequence[float | None], came_true: Sequence[float | None], *, title: str
) -> str:
    """Share that came true against mean probability, a dot per bin with its number of clips; the diagonal is honest."""
    left, top, size = 46, 26, 240
    parts = [_text(left + size / 2, 16, title, anchor="middle", bold=True)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = tick * size
        parts += [
            _line(left + at, top, left + at, top + size, PALE),
            _line(left, top + at, left + size, top + at, PALE),
            _text(left + at, top + size + 16, f"{tick:g}", anchor="middle"),
            _text(left - 6, top + size - at + 4, f"{tick:g}", anchor="end"),
        ]
    parts.append(_line(left, top + size, left + size, top, GREY, dashed=True))
    filled = [
        (count, left + mean * size, top + (1 - share) * size)
        for count, mean, share in zip(clips, promised, came_true, strict=True)
        if mean is not None and share is not None
    ]
    for (_, x, y), (_, to_x, to_y) in itertools.pairwise(filled):
        parts.append(_line(x, y, to_x, to_y, BLUE))
    for count, x, y in filled:
        radius = 3 + 6 * math.sqrt(count / max(clips))
        above = y - radius - 4 if y - radius > top + 14 else y + radius + 13
        parts += [_dot(x, y, radius), _text(x, above, str(count), anchor="middle", size=10)]
    parts += [
        _text(left + size / 2, top + size + 34, "mean probability", anchor="middle"),
        f"<g transform='translate(12 {top + size / 2}) rotate(-90)'>{_text(0, 0, 'came true', anchor='middle')}</g>",
    ]
    return _svg(left + size + 14, top + size + 42, parts, title)


def intervals(panels: Sequence[str], bars: Sequence[Bar], *, title: str) -> str:
    """A line per bar with its value and interval in each panel; all panels share one axis, which holds 0."""
    found = [number for bar in bars for values in bar.values if values for number in values if math.isfinite(number)]
    low, high = _axis(min([0.0, *found]), max([0.0, *found]))
    left, top, width, gap, step = 250, 44, 190, 44, 20
    height = step * len(bars)
    parts = []
    for place, panel in enumerate(panels):
        origin = left + place * (width + gap)
        parts.append(_text(origin + width / 2, 16, panel, anchor="middle", bold=True))
        for tick in _ticks(low, high):
            x = origin + (tick - low) / (high - low) * width
            parts += [
                _line(x, top - 8, x, top + height, GREY if tick == 0 else PALE),
                _text(x, top - 12, f"{tick:g}", anchor="middle", size=10),
            ]
    for row, bar in enumerate(bars):
        y = top + (row + 0.5) * step
        parts.append(_text(left - 10, y + 4, bar.label, anchor="end", bold=not bar.values))
        for place, values in enumerate(bar.values):
            origin = left + place * (width + gap)

            def x_of(value: float, origin: float = origin) -> float:
                return origin + (value - low) / (high - low) * width

            if values is None:
                parts.append(_text(origin + width + 4, y + 4, "none", colour=GREY, size=10))
                continue
            value, lowest, highest = values
            if math.isfinite(lowest) and math.isfinite(highest):
                parts.append(_line(x_of(lowest), y, x_of(highest), y, BLUE, width=2))
            parts += [
                _dot(x_of(value), y, 3.5),
                _text(origin + width + 4, y + 4, f"{round(value, 2) + 0:.2f}", size=10),
            ]
    return _svg(left + len(panels) * (width + gap), top + height + 8, parts, title)


def _axis(low: float, high: float) -> tuple[float, float]:
    high = max(high, low + 0.01)
    step = _step(high - low)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _ticks(low: float, high: float) -> list[float]:
    step = _step(high - low)
    return [round(index * step, 6) for index in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)]


def _step(span: float) -> float:
    """A round step that divides the span into about five."""
    power: float = 10 ** math.floor(math.log10(span / 5))
    return next(round(power * factor, 9) for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5.5)


def _svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    size = f"width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}'"
    return f"<svg {size} role='img' aria-label='{html.escape(label)}' {FONT}>{''.join(parts)}</svg>"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, colour: str = INK, size: int = 12
) -> str:
    weight = " font-weight='bold'" if bold else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}' font-size='{size}'{weight}>"
        f"{html.escape(text)}</text>"
    )


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, *, dashed: bool = False, width: float = 1) -> str:
    dash = " stroke-dasharray='4 3'" if dashed else ""
    return (
        f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{to_x:.1f}' y2='{to_y:.1f}' stroke='{colour}' "
        f"stroke-width='{width:g}'{dash}/>"
    )


def _dot(x: float, y: float, radius: float, *, opacity: float = 1) -> str:
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius:.1f}' fill='{BLUE}' fill-opacity='{opacity:g}'/>"


def _shade(share: float) -> str:
    """White at 0, blue at 1."""
    white, blue = (255, 255, 255), (31, 90, 150)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(white, blue, strict=True))
