"""evaluation.json as one page for people: tables, pictures, and what the scores do not mean."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from emosphere.evaluation.answered import Answered
from emosphere.evaluation.figures import WAYS
from emosphere.plots.heat_map import heat_map
from emosphere.plots.intervals import Bar, intervals
from emosphere.plots.reliability import reliability_diagram
from emosphere.plots.scatter import scatter
from emosphere.vad import VAD_DIMS

SPEAKERS_FOR_INTERVALS: Final = 40
"""Below so many speakers the page warns that intervals over speakers are too narrow."""

STYLE: Final = (
    "body{font-family:sans-serif;color:#222;background:#fff;max-width:68rem;margin:2rem auto;padding:0 1rem;"
    "line-height:1.45}div{overflow-x:auto}table{border-collapse:collapse;margin:.8rem 0;font-size:.85rem}"
    "th,td{padding:.2rem .6rem;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}"
    "svg{max-width:100%;height:auto;margin:.4rem 1rem .4rem 0}"
    ".note{border-left:4px solid #c60;background:#fff6ec;padding:.6rem 1rem;margin:1rem 0}"
    "small,.quiet{color:#666}"
)

SLICED_BY: Final = {
    "corpus": "corpus", "gender": "gender", "duration": "length", "level": "level (RMS)", "category": "category",
}  # fmt: skip


def page(evaluation: Mapping[str, Any], answered: Answered) -> str:
    """The page of an evaluation: well-formed XML that every browser reads as HTML, whole in one file."""
    overall = evaluation["overall"]
    title = f"Evaluation of {evaluation['model']['name']}"
    parts = [
        f"<h1>{_escape(title)}</h1>",
        _about(evaluation),
        _warnings(evaluation),
        "<h2>Agreement with the targets</h2>",
        _agreement_table(overall),
        _extremes_table(overall),
        *(
            scatter(answered.target[:, column], answered.vad[:, column], title=dim)
            for column, dim in enumerate(VAD_DIMS)
            if overall["dimensions"][dim]["clips"]
        ),
        "<h2>Regions</h2>",
        _regions_table(overall),
        *(
            heat_map(found["names"], found["counts"], title=f"Named by {WAYS[way]}")
            for way, found in overall["confusion"].items()
            if found["chance_uar"]
        ),
        "<h2>Do the probabilities mean what they say?</h2>",
        _calibration(overall),
        "<h2>Slices</h2>",
        _slices(evaluation["slices"]),
    ]
    if evaluation["comparison"]:
        parts += [f"<h2>Against {_escape(evaluation['against']['name'])}</h2>", _comparison(evaluation)]
    parts += ["<h2>How to read this page</h2>", _legend(evaluation), _unreadable(evaluation)]
    head = f"<head><meta charset='utf-8'/><title>{_escape(title)}</title><style>{STYLE}</style></head>"
    return f"<!DOCTYPE html>\n<html lang='en'>{head}<body>{''.join(parts)}</body></html>\n"


def _about(evaluation: Mapping[str, Any]) -> str:
    model, clips = evaluation["model"], evaluation["clips"]
    facts = {
        "model": f"{model['name']}-{model['digest']}, licence {model['licence']}",
        "manifest": f"{evaluation['manifest']}, split {evaluation['split']}",
        "clips": f"{clips['evaluated']} of {clips['listed']}, {clips['audio_s'] / 3600:.2f} h; "
        f"{len(clips['unreadable'])} unreadable, {clips['cut']} heard only up to {model['max_clip_s']:g} s",
        "speakers": str(evaluation["overall"]["speakers"]),
        "date": evaluation["date"],
    }
    rows = "".join(
        f"<tr><td>{name}</td><td style='text-align:left'>{_escape(fact)}</td></tr>" for name, fact in facts.items()
    )
    return f"<table>{rows}</table>"


def _warnings(evaluation: Mapping[str, Any]) -> str:
    clips, speakers = evaluation["clips"], evaluation["overall"]["speakers"]
    notes = [
        "<b>What the scores do not mean.</b> They say how closely a model repeats the perceived expression of a voice, "
        "as listeners would rate it on these recordings. They say nothing of what a person feels, and nothing of "
        "recordings, languages or people unlike these."
    ]
    if clips["weak"]:
        notes.append(
            f"<b>Weak labels.</b> {clips['weak']} of {clips['evaluated']} targets are the published mean of an emotion "
            "word that an actor was asked for; nobody rated these clips. Agreement with them is agreement with an "
            "instruction, and is not comparable with figures on rated corpora. Within one category such targets hardly "
            "vary, so that a CCC there says nothing: look at the MAE."
        )
    if speakers < 2:
        notes.append("<b>One speaker.</b> There are no intervals: one voice cannot show how voices differ.")
    elif speakers < SPEAKERS_FOR_INTERVALS:
        notes.append(
            f"<b>Few speakers.</b> Intervals come from drawing whole speakers, and there are {speakers}. With so few "
            "they are narrower than the truth allows, and p values smaller: take them as the least uncertainty."
        )
    return "".join(f"<p class='note'>{note}</p>" for note in notes)


def _agreement_table(overall: Mapping[str, Any]) -> str:
    figures = overall["figures"]
    rows = []
    for dim in VAD_DIMS:
        told = overall["dimensions"][dim]
        counts = [str(told["clips"]), str(told["unrated"]), str(told["speakers"])]
        rows.append(
            [dim, *counts, *(_cell(figures[name][dim]) for name in ("ccc", "pearson", "mae", "bias", "spread_ratio"))]
        )
    rows.append(["mean", "", "", "", *(_cell(figures[name]["mean"]) for name in ("ccc", "pearson", "mae")), "", ""])
    header = ["", "clips", "unrated", "speakers", "CCC", "Pearson", "MAE", "bias", "spread ratio"]
    return _table(header, rows) + _reasons(figures["ccc"])


def _extremes_table(overall: Mapping[str, Any]) -> str:
    figures = overall["figures"]
    rows = []
    for dim in VAD_DIMS:
        told = overall["dimensions"][dim]
        if "lowest_fifth" not in told:
            continue
        low, high = told["lowest_fifth"], told["highest_fifth"]
        rows.append([
            dim, f"{low['clips']} up to {low['up_to']:.2f}", f"{high['clips']} from {high['down_to']:.2f}",
            *(_cell(figures[name][dim]) for name in ("ccc_extremes", "mae_extremes", "bias_lowest", "bias_highest")),
        ])  # fmt: skip
    header = [
        "extreme fifths",
        "lowest: clips",
        "highest: clips",
        "CCC of both",
        "MAE of both",
        "bias lowest",
        "bias highest",
    ]
    return _table(header, rows) + _reasons(figures["ccc_extremes"])


def _regions_table(overall: Mapping[str, Any]) -> str:
    figures = overall["figures"]
    chance = {way: found["chance_uar"] for way, found in overall["confusion"].items()}
    rows = [
        [
            f"by {words}",
            *(_cell(figures[name][way]) for name in ("uar", "macro_f1", "accuracy")),
            f"{chance[way]:.2f}" if chance.get(way) else "",
        ]
        for way, words in WAYS.items()
    ]
    return _table(["named", "UAR", "macro-F1", "accuracy", "UAR of chance"], rows) + _reasons(figures["uar"])


def _calibration(overall: Mapping[str, Any]) -> str:
    figures = overall["figures"]
    names = {
        "region_prob": "region_prob: the head's probability of the published region",
        "head": "the head's probability of its own favourite",
    }
    rows = [[words, _cell(figures["ece"][of])] for of, words in names.items()]
    parts = [_table(["probability", "expected calibration error"], rows), _reasons(figures["ece"])]
    parts += [
        reliability_diagram(found["clips"], found["promised"], found["came_true"], title=of)
        for of, found in overall["reliability"].items()
        if sum(found["clips"])
    ]
    ball = figures["coverage"]["vad_radius_90"]
    parts.append(
        f"<p>Share of targets inside the published error ball (wanted: 0.90): {_cell(ball)}. {_reason(ball)}</p>"
    )
    if overall["coverage_by_speaker"]:
        rows = [
            [name, str(told["clips"]), f"{told['coverage']:.2f}"]
            for name, told in overall["coverage_by_speaker"].items()
        ]
        parts.append(_table(["speaker", "clips", "coverage"], rows))
    return "".join(parts)


def _slices(slices: Mapping[str, Mapping[str, Any]]) -> str:
    bars: list[Bar] = []
    rows: list[list[str]] = []
    small: list[str] = []
    for kind, parts in slices.items():
        shown = {name: told for name, told in parts.items() if "figures" in told}
        small += [
            f"{SLICED_BY[kind]} {name} ({told['clips']} clips, {told['speakers']} speakers)"
            for name, told in parts.items()
            if "too_small" in told
        ]
        if not shown:
            continue
        bars.append(Bar(SLICED_BY[kind], ()))
        for name, told in shown.items():
            figures = told["figures"]
            label = f"{_shortened(name)} ({told['clips']} clips, {told['speakers']} sp.)"
            bars.append(Bar(label, [_numbers(figures["ccc"][dim]) for dim in VAD_DIMS]))
            rows.append([
                f"{SLICED_BY[kind]}: {name}", str(told["clips"]), str(told["speakers"]),
                *(_cell(figures["mae"][dim]) for dim in VAD_DIMS), _cell(figures["uar"]["head"]),
                _cell(figures["uar"]["of_vad"]),
            ])  # fmt: skip
    header = ["slice", "clips", "speakers", *(f"MAE {dim}" for dim in VAD_DIMS), "UAR (head)", "UAR (of VAD)"]
    text = intervals([f"CCC {dim}" for dim in VAD_DIMS], bars, title="CCC by slice") + _table(header, rows)
    if small:
        text += f"<p>Too small for figures (below 2 clips or 2 speakers): {_escape('; '.join(small))}.</p>"
    return text


def _comparison(evaluation: Mapping[str, Any]) -> str:
    bars, rows = [], []
    for figure, parts in evaluation["comparison"].items():
        for of, found in parts.items():
            rows.append(
                [
                    f"{figure} {of}".replace("_", " "),
                    _digits(found["first"], 3),
                    _digits(found["second"], 3),
                    _digits(found["difference"], 3),
                    "" if found["low"] is None else f"[{_digits(found['low'], 3)}, {_digits(found['high'], 3)}]",
                    "" if found["p"] is None else _digits(found["p"], 3),
                    {"first": "A", "second": "B", None: ""}[found["better"]],
                ]
            )
            if figure in ("ccc", "uar"):
                low, high = (math.nan if found[end] is None else found[end] for end in ("low", "high"))
                bars.append(Bar(f"{figure} {of}".replace("_", " "), [(found["difference"], low, high)]))
    first, second = evaluation["model"]["name"], evaluation["against"]["name"]
    header = ["figure", f"A: {first}", f"B: {second}", "A - B", "interval", "p", "better"]
    text = (
        "<p>Both models heard the same clips; every draw of speakers counts for both alike. p is two-sided. With many "
        "figures some fall below 0.05 by luck: decide beforehand which one counts.</p>"
    )
    return text + intervals(["A - B"], bars, title="Differences") + _table(header, rows)


def _legend(evaluation: Mapping[str, Any]) -> str:
    bootstrap = evaluation["bootstrap"]
    items = [
        f"Numbers in brackets: 95 % percentile interval over {bootstrap['draws']} draws of whole speakers with "
        f"replacement (seed {bootstrap['seed']}).",
        "CCC: Lin's concordance, population moments; 1 is perfect, 0 no agreement, below 0 contrary. All values are on "
        "the centred scale, -1 to 1.",
        "Bias: mean prediction minus mean target. Spread ratio: below 1 the model hedges towards the middle; a bias "
        "above 0 in the lowest fifth and below 0 in the highest shows the same.",
        "Extreme fifths: the clips with the lowest and the highest 20 % of the targets of a dimension, equals of the "
        "last one included.",
        "UAR: mean share found of each region that occurs; neutral clips and clips not rated in all dimensions have no "
        "region and are left out.",
        "Reliability: a dot below the dashed line promises too much. The numbers are clips.",
    ]
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _unreadable(evaluation: Mapping[str, Any]) -> str:
    unreadable = evaluation["clips"]["unreadable"]
    if not unreadable:
        return ""
    items = "".join(f"<li>{_escape(clip['error'])}</li>" for clip in unreadable)
    return f"<h2>Clips left out because they cannot be read</h2><ul>{items}</ul>"


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "none"
    if figure["low"] is None:
        return _digits(figure["value"])
    return f"{_digits(figure['value'])} [{_digits(figure['low'])}, {_digits(figure['high'])}]"


def _digits(value: float, digits: int = 2) -> str:
    """Adding 0 takes the sign off a rounded -0."""
    return f"{round(value, digits) + 0:.{digits}f}"


def _numbers(figure: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if figure["value"] is None:
        return None
    low, high = (math.nan if figure[end] is None else float(figure[end]) for end in ("low", "high"))
    return float(figure["value"]), low, high


def _shortened(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"


def _reasons(parts: Mapping[str, Mapping[str, Any]]) -> str:
    told = [f"{of}: {figure['reason']}" for of, figure in parts.items() if "reason" in figure]
    return f"<p class='quiet'>none: {_escape('; '.join(told))}.</p>" if told else ""


def _reason(figure: Mapping[str, Any]) -> str:
    return _escape(f"({figure['reason']})") if "reason" in figure else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{_escape(cell)}</th>" for cell in header)]
    lines += ["".join(f"<td>{_escape(cell)}</td>" for cell in row) for row in rows]
    return "<div><table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def _escape(text: str) -> str:
    """Text of manifests and models is others' text; control characters have no place in XML."""
    return html.escape("".join(letter if letter.isprintable() else " " for letter in text))
