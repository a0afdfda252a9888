"""evaluation.json as one page for people: tables, pictures, and what the scores do not mean."""

from collections.abc import Mapping
from typing import Any, Final

from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.html_tables import escape
from emosphere.evaluation.page_sections import (
    agreement_section,
    calibration_section,
    classes_section,
    comparison_section,
    slices_section,
)

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


def page(evaluation: Mapping[str, Any], answered: AnsweredClips) -> str:
    """The page of an evaluation: well-formed XML that every browser reads as HTML, whole in one file."""
    overall = evaluation["overall"]
    title = f"Evaluation of {evaluation['model']['name']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _about(evaluation),
        _warnings(evaluation),
        "<h2>Agreement with the targets</h2>",
        agreement_section(overall, answered),
        classes_section(overall, answered),
        "<h2>Do the probabilities mean what they say?</h2>",
        calibration_section(overall, answered),
        "<h2>Slices</h2>",
        slices_section(evaluation["slices"], answered),
    ]
    if evaluation["comparison"]:
        parts += [f"<h2>Against {escape(evaluation['against']['name'])}</h2>", comparison_section(evaluation)]
    parts += ["<h2>How to read this page</h2>", _legend(evaluation, answered), _unreadable(evaluation)]
    head = f"<head><meta charset='utf-8'/><title>{escape(title)}</title><style>{STYLE}</style></head>"
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
        f"<tr><td>{name}</td><td style='text-align:left'>{escape(fact)}</td></tr>" for name, fact in facts.items()
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


def _legend(evaluation: Mapping[str, Any], answered: AnsweredClips) -> str:
    bootstrap = evaluation["bootstrap"]
    scales = {(task.lowest, task.highest) for head, task in answered.rated.items() if head in answered.answers}
    scale = "the centred scale, -1 to 1" if scales == {(-1, 1)} else "the scale of their dimension"
    items = [
        f"Numbers in brackets: 95 % percentile interval over {bootstrap['draws']} draws of whole speakers with "
        f"replacement (seed {bootstrap['seed']}).",
    ]
    if scales:
        items += [
            "CCC: Lin's concordance, population moments; 1 is perfect, 0 no agreement, below 0 contrary. All values "
            f"are on {scale}.",
            "Bias: mean prediction minus mean target. Spread ratio: below 1 the model hedges towards the middle; a "
            "bias above 0 in the lowest fifth and below 0 in the highest shows the same.",
            "Extreme fifths: the clips with the lowest and the highest 20 % of the targets of a dimension, equals of "
            "the last one included.",
        ]
    items += [
        f"UAR: mean share found of each {task.noun} that occurs; {task.left_out}."
        for task in answered.classified.values()
    ]
    if answered.classified:
        items.append("Reliability: a dot below the dashed line promises too much. The numbers are clips.")
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _unreadable(evaluation: Mapping[str, Any]) -> str:
    unreadable = evaluation["clips"]["unreadable"]
    if not unreadable:
        return ""
    items = "".join(f"<li>{escape(clip['error'])}</li>" for clip in unreadable)
    return f"<h2>Clips left out because they cannot be read</h2><ul>{items}</ul>"
