"""What the pictures are drawn with, as SVG text: no script, no font, no address of anywhere else."""

import html
from collections.abc import Sequence
from typing import Final

INK: Final = "#222"
GREY: Final = "#999"
PALE: Final = "#ddd"
BLUE: Final = "#1f5a96"
FONT: Final = "font-family='sans-serif' font-size='12'"


def svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    """A picture of ``parts``, sizes in pixels; ``label`` for those who cannot see it."""
    size = f"width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}'"
    return f"<svg {size} role='img' aria-label='{html.escape(label)}' {FONT}>{''.join(parts)}</svg>"


def text(
    x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, colour: str = INK, size: int = 12
) -> str:
    """Words whose baseline begins (or has its middle or end, by ``anchor``) at ``x`` and ``y``."""
    weight = " font-weight='bold'" if bold else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}' font-size='{size}'{weight}>"
        f"{html.escape(text)}</text>"
    )


def line(x: float, y: float, to_x: float, to_y: float, colour: str, *, dashed: bool = False, width: float = 1) -> str:
    """A straight line."""
    dash = " stroke-dasharray='4 3'" if dashed else ""
    return (
        f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{to_x:.1f}' y2='{to_y:.1f}' stroke='{colour}' "
        f"stroke-width='{width:g}'{dash}/>"
    )


def dot(x: float, y: float, radius: float, *, opacity: float = 1) -> str:
    """A filled circle."""
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius:.1f}' fill='{BLUE}' fill-opacity='{opacity:g}'/>"
