"""What the page's tables are made of: figures with their intervals, reasons, and texts of others made harmless."""

import html
from collections.abc import Mapping, Sequence
from typing import Any


def with_interval(figure: Mapping[str, Any]) -> str:
    """A figure of evaluation.json, its interval in brackets."""
    if figure["value"] is None:
        return "none"
    if figure["low"] is None:
        return rounded(figure["value"])
    return f"{rounded(figure['value'])} [{rounded(figure['low'])}, {rounded(figure['high'])}]"


def rounded(value: float, digits: int = 2) -> str:
    """``value`` with so many decimals."""
    return f"{round(value, digits) + 0:.{digits}f}"  # adding 0 takes the sign off a rounded -0


def reasons(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """A line on why some of these figures have no value, if any."""
    given = [f"{of}: {figure['reason']}" for of, figure in parts.items() if "reason" in figure]
    return f"<p class='quiet'>none: {escape('; '.join(given))}.</p>" if given else ""


def reason(figure: Mapping[str, Any]) -> str:
    """Why this figure has no value, in brackets, if it has none."""
    return escape(f"({figure['reason']})") if "reason" in figure else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts."""
    lines = ["".join(f"<th>{escape(text)}</th>" for text in header)]
    lines += ["".join(f"<td>{escape(text)}</td>" for text in row) for row in rows]
    return "<div><table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def escape(text: str) -> str:
    """Text of manifests and models is others' text; control characters have no place in XML."""
    return html.escape("".join(letter if letter.isprintable() else " " for letter in text))
