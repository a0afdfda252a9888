"""The page's tables with the pictures that belong to them, each from its part of evaluation.json."""

import math
from collections.abc import Mapping
from typing import Any, Final

from emosphere.evaluation.figures import WAYS
from emosphere.evaluation.html_tables import escape, reason, reasons, rounded, table, with_interval
from emosphere.plots.intervals import Bar, intervals
from emosphere.plots.reliability import reliability_diagram
from emosphere.vad import VAD_DIMS

SLICED_BY: Final = {
    "corpus": "corpus", "gender": "gender", "duration": "length", "level": "level (RMS)", "category": "category",
}  # fmt: skip


def agreement_table(overall: Mapping[str, Any]) -> str:
    """Per dimension: agreement, error and spread."""
    figures = overall["figures"]
    rows = []
    for dim in VAD_DIMS:
        dimension = overall["dimensions"][dim]
        counts = [str(dimension["clips"]), str(dimension["unrated"]), str(dimension["speakers"])]
        rows.append(
            [
                dim,
                *counts,
                *(with_interval(figures[name][dim]) for name in ("ccc", "pearson", "mae", "bias", "spread_ratio")),
            ]
        )
    rows.append(
        ["mean", "", "", "", *(with_interval(figures[name]["mean"]) for name in ("ccc", "pearson", "mae")), "", ""]
    )
    header = ["", "clips", "unrated", "speakers", "CCC", "Pearson", "MAE", "bias", "spread ratio"]
    return table(header, rows) + reasons(figures["ccc"])


def extremes_table(overall: Mapping[str, Any]) -> str:
    """Per dimension: the lowest and the highest fifth of the targets."""
    figures = overall["figures"]
    rows = []
    for dim in VAD_DIMS:
        dimension = overall["dimensions"][dim]
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
    return table(header, rows) + reasons(figures["ccc_extremes"])


def regions_table(overall: Mapping[str, Any]) -> str:
    """Per way of naming a region: recall, F1 and accuracy, beside chance."""
    figures = overall["figures"]
    rows = []
    for way, words in WAYS.items():
        chance = overall["confusion"].get(way, {}).get("chance_uar")
        scores = [with_interval(figures[name][way]) for name in ("uar", "macro_f1", "accuracy")]
        rows.append([f"by {words}", *scores, f"{chance:.2f}" if chance else ""])
    return table(["named", "UAR", "macro-F1", "accuracy", "UAR of chance"], rows) + reasons(figures["uar"])


def calibration_section(overall: Mapping[str, Any]) -> str:
    """Whether the region head's probabilities and the error ball hold what they promise."""
    figures = overall["figures"]
    names = {
        "region_prob": "region_prob: the head's probability of the published region",
        "head": "the head's probability of its own favourite",
    }
    rows = [[words, with_interval(figures["ece"][of])] for of, words in names.items()]
    parts = [table(["probability", "expected calibration error"], rows), reasons(figures["ece"])]
    parts += [
        reliability_diagram(bins["clips"], bins["promised"], bins["came_true"], title=of)
        for of, bins in overall["reliability"].items()
        if sum(bins["clips"])
    ]
    ball = figures["coverage"]["vad_radius_90"]
    parts.append(
        f"<p>Share of targets inside the published error ball (wanted: 0.90): {with_interval(ball)}. {reason(ball)}</p>"
    )
    if overall["coverage_by_speaker"]:
        rows = [
            [name, str(speaker["clips"]), f"{speaker['coverage']:.2f}"]
            for name, speaker in overall["coverage_by_speaker"].items()
        ]
        parts.append(table(["speaker", "clips", "coverage"], rows))
    return "".join(parts)


def slices_section(slices: Mapping[str, Mapping[str, Any]]) -> str:
    """Figures of each slice, and the names of those that are too small for any."""
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
            bars.append(Bar(label, [_numbers(figures["ccc"][dim]) for dim in VAD_DIMS]))
            rows.append([
                f"{SLICED_BY[kind]}: {name}", str(part["clips"]), str(part["speakers"]),
                *(with_interval(figures["mae"][dim]) for dim in VAD_DIMS), with_interval(figures["uar"]["head"]),
                with_interval(figures["uar"]["of_vad"]),
            ])  # fmt: skip
    header = ["slice", "clips", "speakers", *(f"MAE {dim}" for dim in VAD_DIMS), "UAR (head)", "UAR (of VAD)"]
    text = intervals([f"CCC {dim}" for dim in VAD_DIMS], bars, title="CCC by slice") + table(header, rows)
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


def _numbers(figure: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if figure["value"] is None:
        return None
    low, high = (math.nan if figure[end] is None else float(figure[end]) for end in ("low", "high"))
    return float(figure["value"]), low, high


def _shortened(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
