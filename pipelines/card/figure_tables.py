"""Markdown tables of an evaluation: the one that training writes, or the one that `emosphere evaluate` writes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from emosphere.tasks import Task, questions
from emosphere.tasks.classes import ClassesTask

MEASURED: Final = "emosphere-evaluation-1"
"""Format of what `emosphere evaluate` writes: figures with intervals, in all and per slice."""
CCC, HEAD, NEVER = "ccc", "_head", "_that_never_occur"
"""Ends of the names under which a training writes agreement, figures of classes, and what was never learnt."""
AGREEMENT = ("ccc", "mae", "bias", "ccc_extremes", "bias_lowest", "bias_highest")
OF_CLASSES = ("uar", "macro_f1", "accuracy")
FEW_CLIPS: Final = 200
"""Below so many rated clips, a card says that they are few."""


def figure_tables(evaluation: dict[str, Any], tasks: Mapping[str, Task]) -> str:
    """Every table of ``evaluation``, with a line above each that says what it is; ``tasks``: the model's, by head."""
    parts = _measured(evaluation, tasks) if is_measured(evaluation) else _trained(evaluation)
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
    rated = evaluation["rated"]
    of_dims = {dim: value for dim, value in rated["ccc"].items() if value is not None} if rated else {}
    if of_dims:
        few = "; too few for a benchmark" if rated["clips"] < FEW_CLIPS else ""
        yield (
            f"Against listeners' ratings ({rated['clips']} clips{_of(rated.get('corpora'))}, not learnt from{few}): "
            f"CCC {', '.join(f'{dim} {value:.2f}' for dim, value in of_dims.items())}."
        )
    for name, figures in (test or {}).items():
        if name.endswith(HEAD):
            head = name.removesuffix(HEAD)
            yield f"Confusion of the {head} head on the test speakers (rows: label, columns: answer):"
            yield _confusion(figures)
    for name, absent in evaluation.items():
        if name.endswith(NEVER) and absent:
            plural = name.removesuffix(NEVER).replace("_", " ").capitalize()
            yield f"{plural} that never occur among the labels, so that they were never learnt: {', '.join(absent)}."


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
    """Per row: agreement in each dimension, and recall by each way of naming a class beside that of chance."""
    cells = {name: _cells(figures) for name, figures in rows.items()}
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    order = list(dict.fromkeys(question for question, _ in columns))
    columns.sort(key=lambda column: order.index(column[0]))
    header = ["", "clips", *(label for _, label in columns)]
    return _table(
        header,
        [
            [name, str(figures["clips"]), *(cells[name].get(column, "") for column in columns)]
            for name, figures in rows.items()
        ],
    )


def _cells(figures: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What is asked, and the column's header -> the cell of these figures."""
    cells: dict[tuple[str, str], str] = {}
    for name, of_dims in figures.items():
        if name.endswith(CCC):
            head = name.removesuffix(CCC).removesuffix("_")
            for dim, value in of_dims.items():
                label = f"CCC {dim}" if head in ("", dim) else f"CCC {head} {dim}"
                cells["", label] = "" if value is None else f"{value:.2f}"
    chance: dict[tuple[str, str], str] = {}
    recalls = {name: part for name, part in figures.items() if isinstance(part, dict) and "uar" in part}
    for name, part in sorted(recalls.items(), key=lambda item: not item[0].endswith(HEAD)):
        question, _, source = name.partition("_of_")
        if name.endswith(HEAD):
            question, way = name.removesuffix(HEAD), "head"
        else:
            way = f"of {source.upper()}"
        cells[question, f"{question} UAR ({way})"] = f"{part['uar']:.2f}"
        chance[question, "chance UAR"] = f"{part['chance']:.2f}"
    return cells | chance


def _confusion(figures: dict[str, Any]) -> str:
    return _table(["", *figures["names"]], [[name, *map(str, row)] for name, row in figures["confusion"].items()])


def _measured(evaluation: dict[str, Any], tasks: Mapping[str, Task]) -> Iterator[str]:
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
    dims = list(overall["dimensions"])
    if dims:
        names = [name for name in AGREEMENT if name in figures]
        yield _table(["", *dims], [[name, *(_with_interval(figures[name].get(dim)) for dim in dims)] for name in names])
        yield "; ".join(f"{name}: {meanings[name]}" for name in names if name in meanings) + "."
    ways: list[str] = []
    for head, task in questions(tasks).items():
        if not isinstance(task, ClassesTask):
            continue
        defined = [way for way in task.ways(head) if _is_defined(figures["uar"].get(way))]
        ways += defined
        if defined:
            yield f"{task.plural.capitalize()}, as named by each way that the checkpoint offers:"
            yield _table(
                ["", *OF_CLASSES],
                [[way, *(_with_interval(figures[name][way]) for name in OF_CLASSES)] for way in defined],
            )
    figure, of = ("ccc", dims) if dims else ("uar", ways)
    yield f"Slices, {figure.upper()}:"
    yield _table(
        ["", "clips", "speakers", *of],
        [
            _slice(f"{kind}: {name}", part, figure, of)
            for kind, parts in evaluation["slices"].items()
            for name, part in parts.items()
        ],
    )


def _slice(name: str, part: dict[str, Any], figure: str, of: Sequence[str]) -> list[str]:
    sizes = [name, str(part["clips"]), str(part["speakers"])]
    if "too_small" in part:
        return [*sizes, *("too small" for _ in of)]
    return [*sizes, *(_with_interval(part["figures"][figure][name]) for name in of)]


def _is_defined(figure: dict[str, Any] | None) -> bool:
    return figure is not None and figure["value"] is not None


def _with_interval(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "not defined"
    interval = f" [{figure['low']:.2f}, {figure['high']:.2f}]" if figure.get("low") is not None else ""
    return f"{figure['value']:.2f}{interval}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
