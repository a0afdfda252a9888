"""Markdown tables of an evaluation: the one that training writes, or the one that `emosphere evaluate` writes."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from emosphere.vad import VAD_DIMS

MEASURED: Final = "emosphere-evaluation-1"
"""Format of what `emosphere evaluate` writes: figures with intervals, in all and per slice."""
FEW_CLIPS: Final = 200
"""Below so many rated clips, a card says that they are few."""


def figure_tables(evaluation: dict[str, Any]) -> str:
    """Every table of ``evaluation``, with a line above each that says what it is."""
    parts = _measured(evaluation) if is_measured(evaluation) else _trained(evaluation)
    return "\n\n".join(parts) + "\n"


def is_measured(evaluation: dict[str, Any]) -> bool:
    """Whether `emosphere evaluate` wrote it, rather than the training."""
    return evaluation.get("format") == MEASURED


def _trained(evaluation: dict[str, Any]) -> Iterator[str]:
    yield _sizes(evaluation)
    test = evaluation["test"]
    if test:
        rows = {"all test speakers": test, **test["corpora"]}
        if evaluation["test_distorted"]:
            rows["all, distorted copies"] = evaluation["test_distorted"]
        known = evaluation.get("test_speakers_known", 0)
        none = "Test speakers, none of whom was learnt from or chosen by:"
        yield f"Test clips; **{known} of their speakers were learnt from or chosen by**:" if known else none
        yield _agreement(rows)
    if evaluation["cross_validation"]:
        crossval = evaluation["cross_validation"]
        yield "Speaker-grouped cross-validation over the clips learnt from:"
        yield _agreement({"all": crossval, **crossval["corpora"]})
    if evaluation["rated"]:
        rated = evaluation["rated"]
        few = "; too few for a benchmark" if rated["clips"] < FEW_CLIPS else ""
        yield (
            f"Against listeners' ratings ({rated['clips']} clips{_of(rated.get('corpora'))}, not learnt from{few}): "
            f"CCC valence {rated['ccc']['valence']:.2f}, arousal {rated['ccc']['arousal']:.2f}."
        )
    if test and "region_head" in test:
        yield "Confusion of the region head on the test speakers (rows: label, columns: answer):"
        yield _confusion(test)
    absent = evaluation["regions_that_never_occur"]
    if absent:
        yield f"Regions that never occur among the labels, so that they were never learnt: {', '.join(absent)}."


def _of(corpora: Sequence[str] | None) -> str:
    return f" of {', '.join(corpora)}" if corpora else ""


def _sizes(evaluation: dict[str, Any]) -> str:
    return (
        f"{evaluation['parameters']:,} parameters, trained {evaluation['date']}. "
        f"Learnt from: {_counts(evaluation['trained_on'])}. "
        f"Kept apart for the test: {_counts(evaluation['evaluated_on']) or 'nothing'}."
    )


def _counts(corpora: dict[str, Any]) -> str:
    return "; ".join(
        f"{name} {count['clips']} clips of {count['speakers']} speakers" for name, count in corpora.items()
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


def _measured(evaluation: dict[str, Any]) -> Iterator[str]:
    overall, clips, draws = evaluation["overall"], evaluation["clips"], evaluation["bootstrap"]
    yield (
        f"Split `{evaluation['split']}` of `{evaluation['manifest'].rsplit('/', 1)[-1]}`, {evaluation['date']}: "
        f"{clips['evaluated']} clips of {overall['speakers']} speakers, {clips['audio_s'] / 60:.0f} minutes; "
        f"{len(clips['unreadable'])} clips could not be read. In brackets: intervals of a bootstrap over "
        f"{draws['over']} ({draws['interval']}, {draws['draws']} draws)."
    )
    if clips["weak"]:
        yield f"{clips['weak']} of the targets are means of emotion *words*, not ratings of these clips."
    figures, meanings = overall["figures"], evaluation["meanings"]
    names = [name for name in ("ccc", "mae", "bias", "ccc_extremes", "bias_lowest", "bias_highest") if name in figures]
    yield _table(
        ["", *VAD_DIMS], [[name, *(_with_interval(figures[name].get(dim)) for dim in VAD_DIMS)] for name in names]
    )
    yield "; ".join(f"{name}: {meanings[name]}" for name in names if name in meanings) + "."
    ways = [way for way, uar in figures["uar"].items() if uar["value"] is not None]
    if ways:
        regional = ("uar", "macro_f1", "accuracy")
        yield "Regions, as named by each way that the checkpoint offers:"
        yield _table(
            ["", *regional], [[way, *(_with_interval(figures[name][way]) for name in regional)] for way in ways]
        )
    yield "Slices, CCC:"
    yield _table(
        ["", "clips", "speakers", *VAD_DIMS],
        [
            _slice(f"{kind}: {name}", part)
            for kind, parts in evaluation["slices"].items()
            for name, part in parts.items()
        ],
    )


def _slice(name: str, part: dict[str, Any]) -> list[str]:
    sizes = [name, str(part["clips"]), str(part["speakers"])]
    if "too_small" in part:
        return [*sizes, *("too small" for _ in VAD_DIMS)]
    return [*sizes, *(_with_interval(part["figures"]["ccc"][dim]) for dim in VAD_DIMS)]


def _with_interval(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "not defined"
    interval = f" [{figure['low']:.2f}, {figure['high']:.2f}]" if figure.get("low") is not None else ""
    return f"{figure['value']:.2f}{interval}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
