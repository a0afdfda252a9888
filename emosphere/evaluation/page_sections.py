"""The page's tables with the pictures that belong to them, each from its part of evaluation.json."""

import math
from collections.abc import Mapping
from typing import Any, Final

from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.figures import NOT_ANSWERED
from emosphere.evaluation.html_tables import escape, reason, reasons, rounded, table, with_interval
from emosphere.plots.heat_map import heat_map
from emosphere.plots.intervals import Bar, intervals
from emosphere.plots.reliability import reliability_diagram
from emosphere.plots.scatter import scatter

SLICED_BY: Final = {
    "corpus": "corpus", "gender": "gender", "duration": "length", "level": "level (RMS)", "category": "category",
}  # fmt: skip


def agreement_section(overall: Mapping[str, Any], answered: AnsweredClips) -> str:
    """Per dimension: agreement, error and spread, the extremes, a picture; and what the model does not answer."""
    absent = [", ".join(task.dims) for head, task in answered.rated.items() if head not in answered.answers]
    text = "".join(f"<p>The model does not answer {escape(dims)}.</p>" for dims in absent)
    if not overall["dimensions"]:
        return text
    pictures = [
        scatter(shown.target, shown.predicted, title=name, lowest=shown.lowest, highest=shown.highest)
        for head in answered.rated
        for name, shown in answered.dimensions(head).items()
        if shown.predicted is not None and len(shown.target)
    ]
    return "".join([text, _agreement_table(overall, answered), _extremes_table(overall), *pictures])


def _agreement_table(overall: Mapping[str, Any], answered: AnsweredClips) -> str:
    figures = overall["figures"]
    rows = []
    for head, task in answered.rated.items():
        if head not in answered.answers:
            continue
        dims = answered.dimension_names(head)
        for dim in dims:
            dimension = overall["dimensions"][dim]
            counts = [str(dimension["clips"]), str(dimension["unrated"]), str(dimension["speakers"])]
            rows.append(
                [
                    dim,
                    *counts,
                    *(with_interval(figures[name][dim]) for name in ("ccc", "pearson", "mae", "bias", "spread_ratio")),
                ]
            )
        if len(dims) > 1:
            mean = task.key(head, "mean")
            means = [with_interval(figures[name][mean]) for name in ("ccc", "pearson", "mae")]
            rows.append([mean, "", "", "", *means, "", ""])
    header = ["", "clips", "unrated", "speakers", "CCC", "Pearson", "MAE", "bias", "spread ratio"]
    return table(header, rows) + _reasons(figures["ccc"])


def _extremes_table(overall: Mapping[str, Any]) -> str:
    figures = overall["figures"]
    rows = []
    for dim, dimension in overall["dimensions"].items():
        if "lowest_fifth" not in dimension:
            continue
        low, high = dimension["lowest_fifth"], dimension["highest_fifth"]
        fifths = [f"{low['clips']} up to {low['up_to']:.2f}", f"{high['clips']} from {high['down_to']:.2f}"]
        names = ("ccc_extremes", "mae_extremes", "bias_lowest", "bias_highest")
        rows.append([dim, *fifths, *(with_interval(figures[name][dim]) for name in names)])
    header = [
        "extreme fifths",
        "lowest: clips",
        "highest: clips",
        "CCC of both",
        "MAE of both",
        "bias lowest",
        "bias highest",
    ]
    return table(header, rows) + _reasons(figures["ccc_extremes"])


def classes_section(overall: Mapping[str, Any], answered: AnsweredClips) -> str:
    """Per question of classes, and per way of naming one: recall, F1 and accuracy, beside chance; confusions."""
    figures = overall["figures"]
    parts = []
    for head, task in answered.classified.items():
        rows = []
        ways = task.ways(head)
        for way in ways:
            chance = overall["confusion"].get(way, {}).get("chance_uar")
            scores = [with_interval(figures[name][way]) for name in ("uar", "macro_f1", "accuracy")]
            rows.append([f"by {ways[way].words}", *scores, f"{chance:.2f}" if chance else ""])
        heading = task.plural.capitalize() if head == task.kind else f"{task.plural.capitalize()}: {head}"
        parts += [
            f"<h2>{escape(heading)}</h2>",
            table(["named", "UAR", "macro-F1", "accuracy", "UAR of chance"], rows),
            reasons({way: figures["uar"][way] for way in ways}),
        ]
        parts += [
            heat_map(confusion["names"], confusion["counts"], noun=task.noun, title=f"Named by {ways[way].words}")
            for way, confusion in overall["confusion"].items()
            if way in ways and confusion["chance_uar"]
        ]
    return "".join(parts)


def calibration_section(overall: Mapping[str, Any], answered: AnsweredClips) -> str:
    """Whether probabilities of classes and error balls hold what they promise."""
    figures = overall["figures"]
    rows = [
        [words, with_interval(figures["ece"][of])]
        for head, task in answered.classified.items()
        for of, words in task.promises(head).items()
    ]
    parts = [table(["probability", "expected calibration error"], rows), reasons(figures["ece"])] if rows else []
    parts += [
        reliability_diagram(bins["clips"], bins["promised"], bins["came_true"], title=of)
        for of, bins in overall["reliability"].items()
        if sum(bins["clips"])
    ]
    rated = {head: task for head, task in answered.rated.items() if head in answered.answers}
    for head, task in rated.items():
        ball = figures["coverage"][f"{head}_radius_90"]
        what = "error ball" if len(rated) == 1 else f"error ball of {escape(head)}"
        parts.append(
            f"<p>Share of targets inside the published {what} (wanted: 0.90): {with_interval(ball)}. {reason(ball)}</p>"
        )
        by_speaker = overall[task.key(head, "coverage_by_speaker")] or {}
        rows = [[name, str(part["clips"]), f"{part['coverage']:.2f}"] for name, part in by_speaker.items()]
        parts.append(table(["speaker", "clips", "coverage"], rows) if rows else "")
    return "".join(parts) or "<p>The model gives neither probabilities nor errors of its own.</p>"


def slices_section(slices: Mapping[str, Mapping[str, Any]], answered: AnsweredClips) -> str:
    """Figures of each slice, and the names of those that are too small for any."""
    dims = [dim for head in answered.rated if head in answered.answers for dim in answered.dimension_names(head)]
    ways = {
        name: way.short
        for head, task in answered.classified.items()
        for name, way in task.ways(head).items()
        if way.short is not None
    }
    panels = {("ccc", dim): f"CCC {dim}" for dim in dims} or {
        ("uar", name): f"UAR ({short})" for name, short in ways.items()
    }
    bars: list[Bar] = []
    rows: list[list[str]] = []
    small: list[str] = []
    for kind, parts in slices.items():
        shown = {name: part for name, part in parts.items() if "figures" in part}
        small += [
            f"{SLICED_BY[kind]} {name} ({part['clips']} clips, {part['speakers']} speakers)"
            for name, part in parts.items()
            if "too_small" in part
        ]
        if not shown:
            continue
        bars.append(Bar(SLICED_BY[kind], ()))
        for name, part in shown.items():
            figures = part["figures"]
            label = f"{_shortened(name)} ({part['clips']} clips, {part['speakers']} sp.)"
            bars.append(Bar(label, [_numbers(figures[figure][of]) for figure, of in panels]))
            rows.append([
                f"{SLICED_BY[kind]}: {name}", str(part["clips"]), str(part["speakers"]),
                *(with_interval(figures["mae"][dim]) for dim in dims),
                *(with_interval(figures["uar"][way]) for way in ways),
            ])  # fmt: skip
    header = [
        "slice", "clips", "speakers", *(f"MAE {dim}" for dim in dims), *(f"UAR ({short})" for short in ways.values()),
    ]  # fmt: skip
    title = "CCC by slice" if dims else "UAR by slice"
    text = intervals(list(panels.values()), bars, title=title) + table(header, rows) if panels else ""
    if small:
        text += f"<p>Too small for figures (below 2 clips or 2 speakers): {escape('; '.join(small))}.</p>"
    return text


def comparison_section(evaluation: Mapping[str, Any]) -> str:
    """Differences of two models, figure by figure."""
    bars, rows = [], []
    for figure, parts in evaluation["comparison"].items():
        for of, compared in parts.items():
            label = f"{figure} {of}".replace("_", " ")
            interval = ""
            if compared["low"] is not None:
                interval = f"[{rounded(compared['low'], 3)}, {rounded(compared['high'], 3)}]"
            rows.append(
                [
                    label,
                    *(rounded(compared[name], 3) for name in ("first", "second", "difference")),
                    interval,
                    "" if compared["p"] is None else rounded(compared["p"], 3),
                    {"first": "A", "second": "B", None: ""}[compared["better"]],
                ]
            )
            if figure in ("ccc", "uar"):
                low, high = (math.nan if compared[end] is None else compared[end] for end in ("low", "high"))
                bars.append(Bar(label, [(compared["difference"], low, high)]))
    first, second = evaluation["model"]["name"], evaluation["against"]["name"]
    header = ["figure", f"A: {first}", f"B: {second}", "A - B", "interval", "p", "better"]
    text = (
        "<p>Both models heard the same clips; every draw of speakers counts for both alike. p is two-sided. With many "
        "figures some fall below 0.05 by luck: decide beforehand which one counts.</p>"
    )
    return text + intervals(["A - B"], bars, title="Differences") + table(header, rows)


def _reasons(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Of what the model answers; the page says by itself what it does not."""
    return reasons({of: figure for of, figure in parts.items() if figure.get("reason") != NOT_ANSWERED})


def _numbers(figure: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if figure["value"] is None:
        return None
    low, high = (math.nan if figure[end] is None else float(figure[end]) for end in ("low", "high"))
    return float(figure["value"]), low, high


def _shortened(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
