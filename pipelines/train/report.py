"""What a trained network achieves, in all and per corpus, JSON-ready."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from emosphere.clips.batches import Clips
from emosphere.clips.manifest import Clip
from emosphere.metrics import known_ccc
from emosphere.model.network import Network
from emosphere.tasks import Task
from emosphere.tasks.classes import ClassesTask
from emosphere.tasks.vad import VAD
from emosphere.training import Answers, answers_for
from emosphere.vad import VAD_DIMS


def figures_for(answers: Answers, labelled: Clips, rows: list[int], tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Figures of ``answers``, by head in the order of ``rows``; in all and per corpus."""
    figures = _figures(answers, labelled, rows, tasks)
    corpora = sorted({labelled.clips[row].corpus for row in rows})
    figures["corpora"] = {}
    for corpus in corpora:
        places = [place for place, row in enumerate(rows) if labelled.clips[row].corpus == corpus]
        part = {name: answer[places] for name, answer in answers.items()}
        figures["corpora"][corpus] = _figures(part, labelled, [rows[place] for place in places], tasks)
    return figures


def evaluate(
    network: Network,
    labelled: Clips,
    *,
    learnt: tuple[str, ...],
    kept: tuple[str, ...],
    chosen_by: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Sizes of the splits ``learnt`` from and ``kept`` apart, and figures on the latter, clean and distorted."""
    before = {clip.speaker for clip in labelled.clips if clip.split in (*learnt, *chosen_by)}
    rows = [row for row, clip in enumerate(labelled.clips) if clip.split in kept]
    evaluation: dict[str, Any] = {
        "parameters": sum(tensor.numel() for tensor in network.parameters()),
        "trained_on": _counts(labelled, learnt),
        "evaluated_on": _counts(labelled, kept),
        "test_speakers_known": len(before & {clip.speaker for clip in labelled.clips if clip.split in kept}),
        **_untaught(labelled, learnt, network.tasks),
        "test": None,
        "splits": {},
        "test_distorted": None,
        "rated": _rated(network, labelled, learnt),
    }
    if rows:
        answers = answers_for(network, labelled, rows)
        evaluation["test"] = figures_for(answers, labelled, rows, network.tasks)
        for split in kept:
            places = [place for place, row in enumerate(rows) if labelled.clips[row].split == split]
            part = {name: answer[places] for name, answer in answers.items()}
            evaluation["splits"][split] = _figures(part, labelled, [rows[place] for place in places], network.tasks)
        if labelled.num_versions > 1:
            answers = answers_for(network, labelled, rows, version=labelled.num_versions - 1)
            evaluation["test_distorted"] = figures_for(answers, labelled, rows, network.tasks)
    return evaluation


def short_figures(figures: dict[str, Any] | None) -> dict[str, float] | None:
    """Agreement per dimension and recall per way of naming a class."""
    if figures is None:
        return None
    short: dict[str, float] = {}
    for name, part in figures.items():
        if name.endswith("ccc"):
            prefix = name.removesuffix("ccc")
            dims = {dim: value for dim, value in part.items() if value is not None}
            short |= {dim if f"{dim}_" == prefix else f"{prefix}{dim}": value for dim, value in dims.items()}
        elif isinstance(part, dict) and "uar" in part:
            short[name] = part["uar"]
    return short


def _figures(answers: Answers, labelled: Clips, rows: list[int], tasks: Mapping[str, Task]) -> dict[str, Any]:
    clips = [labelled.clips[row] for row in rows]
    figures: dict[str, Any] = {"clips": len(rows), "speakers": len({clip.speaker for clip in clips})}
    for head, task in tasks.items():
        figures |= task.report(tasks, answers, head, clips)
    return figures


def _rated(network: Network, labelled: Clips, learnt: tuple[str, ...]) -> dict[str, Any] | None:
    """Against listeners' ratings of valence and arousal, where others are weak labels and a corpus has ratings.

    Not on clips that were learnt from.
    """
    # Weak labels are a matter of the sphere: of the word's point on it.
    head = next((name for name, task in network.tasks.items() if task.kind == VAD), None)
    if head is None or not any(clip.weak for clip in labelled.clips):
        return None
    rows = [row for row, clip in enumerate(labelled.clips) if clip.is_rated and clip.split not in learnt]
    if len(rows) < 2:
        return None
    answers, target = answers_for(network, labelled, rows)[head], labelled.targets(rows)[head]
    agreement = known_ccc(network.tasks[head].published(answers), target.values, target.is_known)
    of_dim = dict(zip(VAD_DIMS, agreement.tolist(), strict=True))
    return {
        "clips": len(rows),
        "corpora": sorted({labelled.clips[row].corpus for row in rows}),
        "ccc": {dim: round(of_dim[dim], 4) for dim in ("valence", "arousal") if of_dim[dim] == of_dim[dim]},
    }


def _counts(labelled: Clips, splits: tuple[str, ...]) -> dict[str, dict[str, int]]:
    clips_of: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in labelled.clips:
        if clip.split in splits:
            clips_of[clip.corpus].append(clip)
    return {
        corpus: {"clips": len(clips_of[corpus]), "speakers": len({clip.speaker for clip in clips_of[corpus]})}
        for corpus in sorted(clips_of)
    }


def _untaught(labelled: Clips, splits: tuple[str, ...], tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """By what they are called: classes that never occur among the clips learnt from."""
    clips = [clip for clip in labelled.clips if clip.split in splits]
    untaught: dict[str, list[str]] = {}
    for head, task in tasks.items():
        if isinstance(task, ClassesTask):
            name = f"{task.plural}_that_never_occur"
            untaught[f"{head}_{name}" if name in untaught else name] = task.untaught(task.target(clips))
    return untaught
