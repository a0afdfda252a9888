"""The model card: hand-written prose around tables made from evaluation.json."""

from collections.abc import Sequence
from typing import Any

from emosphere.vad import VAD_DIMS

PLACE = "{figures}"


def card_text(prose: str, evaluation: dict[str, Any]) -> str:
    """``prose`` with the tables in the place of ``{figures}``, or the tables under a plain title without prose."""
    tables = figure_tables(evaluation)
    if not prose:
        return f"# {evaluation['name']}\n\nTrained on {evaluation['date']}.\n\n{tables}"
    return prose.lstrip().replace(PLACE, tables.rstrip())


def figure_tables(evaluation: dict[str, Any]) -> str:
    """Markdown tables of an evaluation: agreement, regions, confusion."""
    parts = [_sizes(evaluation)]
    test = evaluation["test"]
    if test:
        rows = {"all test speakers": test, **test["corpora"]}
        if evaluation["test_distorted"]:
            rows["all, distorted copies"] = evaluation["test_distorted"]
        parts += ["Test speakers, none of whom was learnt from or chosen by:", _agreement(rows)]
    if evaluation["cross_validation"]:
        crossval = evaluation["cross_validation"]
        parts += [
            "Speaker-grouped cross-validation over the clips learnt from:",
            _agreement({"all": crossval, **crossval["corpora"]}),
        ]
    if evaluation["rated"]:
        rated = evaluation["rated"]
        parts.append(
            f"Against listeners' ratings ({rated['clips']} clips of EMO-DB, not learnt from; too few for a benchmark): "
            f"CCC valence {rated['ccc']['valence']:.2f}, arousal {rated['ccc']['arousal']:.2f}."
        )
    if test and "region_head" in test:
        parts += ["Confusion of the region head on the test speakers (rows: label, columns: answer):", _confusion(test)]
    absent = evaluation["regions_that_never_occur"]
    if absent:
        parts.append(f"Regions that never occur among the labels, so that they were never learnt: {', '.join(absent)}.")
    return "\n\n".join(parts) + "\n"


def _sizes(evaluation: dict[str, Any]) -> str:
    learnt, kept = (
        "; ".join(f"{corpus} {count['clips']} clips of {count['speakers']} speakers" for corpus, count in part.items())
        for part in (evaluation["trained_on"], evaluation["evaluated_on"])
    )
    return (
        f"{evaluation['parameters']:,} parameters, trained {evaluation['date']}. Learnt from: {learnt}. "
        f"Kept apart for the test: {kept or 'nothing'}."
    )


def _agreement(rows: dict[str, dict[str, Any]]) -> str:
    table = []
    for name, figures in rows.items():
        head, vad = figures.get("region_head"), figures.get("region_of_vad")
        table.append(
            [
                name,
                str(figures["clips"]),
                *(f"{figures['ccc'][dim]:.2f}" for dim in VAD_DIMS),
                f"{head['uar']:.2f}" if head else "",
                f"{vad['uar']:.2f}" if vad else "",
                f"{vad['chance']:.2f}" if vad else "",
            ]
        )
    header = [
        "",
        "clips",
        *(f"CCC {dim}" for dim in VAD_DIMS),
        "region UAR (head)",
        "region UAR (of VAD)",
        "chance UAR",
    ]
    return _table(header, table)


def _confusion(figures: dict[str, Any]) -> str:
    confusion = figures["region_head"]["confusion"]
    names = figures["region_head"]["names"]
    return _table(["", *names], [[name, *map(str, counts)] for name, counts in confusion.items()])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
