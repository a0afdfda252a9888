"""What a trained network achieves, in all and per corpus, JSON-ready."""

from collections import defaultdict
from typing import Any

import torch

from emosphere.clips.batches import Clips
from emosphere.clips.manifest import Clip
from emosphere.geometry import REGION_NAMES, region_of
from emosphere.metrics import ccc, region_report
from emosphere.model.network import Network
from emosphere.training import Answers, answers_for
from emosphere.vad import VAD_DIMS


def figures_for(answers: Answers, labelled: Clips, rows: list[int], num_regions: int) -> dict[str, Any]:
    """Concordance and region figures of ``answers``, which are in the order of ``rows``; in all and per corpus."""
    figures = _figures(answers, labelled, rows, num_regions)
    corpora = sorted({labelled.clips[row].corpus for row in rows})
    figures["corpora"] = {}
    for corpus in corpora:
        places = [place for place, row in enumerate(rows) if labelled.clips[row].corpus == corpus]
        part = {name: answer[places] for name, answer in answers.items()}
        figures["corpora"][corpus] = _figures(part, labelled, [rows[place] for place in places], num_regions)
    return figures


def evaluate(
    network: Network,
    labelled: Clips,
    *,
    learnt: tuple[str, ...],
    kept: tuple[str, ...],
    num_regions: int,
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
        "regions_that_never_occur": _absent_regions(labelled, learnt, num_regions),
        "test": None,
        "splits": {},
        "test_distorted": None,
        "rated": _rated(network, labelled, learnt),
    }
    if rows:
        answers = answers_for(network, labelled, rows)
        evaluation["test"] = figures_for(answers, labelled, rows, num_regions)
        for split in kept:
            places = [place for place, row in enumerate(rows) if labelled.clips[row].split == split]
            part = {name: answer[places] for name, answer in answers.items()}
            evaluation["splits"][split] = _figures(part, labelled, [rows[place] for place in places], num_regions)
        if labelled.num_versions > 1:
            answers = answers_for(network, labelled, rows, version=labelled.num_versions - 1)
            evaluation["test_distorted"] = figures_for(answers, labelled, rows, num_regions)
    return evaluation


def short_figures(figures: dict[str, Any] | None) -> dict[str, float] | None:
    """Agreement per dimension and recall per way of naming the region."""
    if figures is None:
        return None
    agreement: dict[str, float] = figures["ccc"]
    return agreement | {key: figures[key]["uar"] for key in ("region_head", "region_of_vad") if key in figures}


def _figures(answers: Answers, labelled: Clips, rows: list[int], num_regions: int) -> dict[str, Any]:
    targets = labelled.targets(rows)
    agreement = ccc(answers["vad"].clamp(-1, 1), targets["vad"])
    figures: dict[str, Any] = {
        "clips": len(rows),
        "speakers": len({labelled.clips[row].speaker for row in rows}),
        "ccc": {dim: round(float(value), 4) for dim, value in zip(VAD_DIMS, agreement, strict=True)},
    }
    if not (targets["region"] >= 0).any():
        return figures
    figures["region_of_vad"] = _regions(region_of(answers["vad"], num_regions), targets["region"], num_regions)
    if "region" in answers:
        figures["region_head"] = _regions(answers["region"].argmax(dim=1), targets["region"], num_regions)
    return figures


def _regions(predicted: torch.Tensor, target: torch.Tensor, num_regions: int) -> dict[str, Any]:
    report = region_report(predicted, target, num_regions)
    occurring = report.confusion.sum(dim=1) > 0
    names = REGION_NAMES[num_regions]
    return {
        "clips": int(report.confusion.sum()),
        "uar": round(report.uar, 4),
        "chance": round(1 / int(occurring.sum()), 4),
        "macro_f1": round(report.macro_f1, 4),
        "accuracy": round(report.accuracy, 4),
        "names": list(names),
        "confusion": {names[index]: report.confusion[index].tolist() for index in torch.nonzero(occurring)[:, 0]},
    }


def _rated(network: Network, labelled: Clips, learnt: tuple[str, ...]) -> dict[str, Any] | None:
    """Against listeners' ratings of valence and arousal, where others are weak labels and a corpus has ratings.

    Not on clips that were learnt from.
    """
    rows = [row for row, clip in enumerate(labelled.clips) if not clip.weak and clip.split not in learnt]
    if len(rows) < 2 or not any(clip.weak for clip in labelled.clips):
        return None
    ratings = torch.tensor([labelled.clips[row].vad[:2] for row in rows])
    agreement = ccc(answers_for(network, labelled, rows)["vad"][:, :2].clamp(-1, 1), ratings)
    return {
        "clips": len(rows),
        "corpora": sorted({labelled.clips[row].corpus for row in rows}),
        "ccc": {"valence": round(float(agreement[0]), 4), "arousal": round(float(agreement[1]), 4)},
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


def _absent_regions(labelled: Clips, splits: tuple[str, ...], num_regions: int) -> list[str]:
    regions = {clip.region for clip in labelled.clips if clip.split in splits}
    return [name for index, name in enumerate(REGION_NAMES[num_regions]) if index not in regions]
