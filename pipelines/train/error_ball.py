"""How far an answer may lie from its target: a ball of error, held against that of a constant answer."""

import math
from typing import Any

import torch
from torch import Tensor

from emosphere.clips.batches import Clips
from emosphere.metrics import conformal_radius
from emosphere.tasks import Target

CLEARLY_SMALLER = 0.9
"""A radius is worth publishing below this share of the one that a constant answer needs."""


def error_ball(clips: Clips, rows: list[int], answers: Tensor, learnt: list[int], head: str) -> dict[str, Any]:
    """Radius that holds 90 % of the targets of ``rows``, and the radius of always answering the mean learnt target.

    ``answers`` of the ``head`` are in the order of ``rows``, clips of speakers that the answering network did not learn
    from; those not rated in every dimension are left out. Of too few clips both radii are None, with a ``reason``.
    """
    rows, answers, targets = _rated(clips, rows, answers, head)
    constant = known_mean(clips.targets(learnt)[head])
    radius = conformal_radius(_distances(answers, targets))
    constant_radius = conformal_radius(_distances(constant.expand_as(targets), targets))
    ball: dict[str, Any] = {
        "radius": _finite(radius),
        "constant_radius": _finite(constant_radius),
        "clips": len(rows),
        "speakers": len({clips.clips[row].speaker for row in rows}),
    }
    if ball["radius"] is None:
        ball["reason"] = f"{len(rows)} clips are too few to say what holds 90 %"
    return ball


def published_radius(ball: dict[str, Any]) -> float | None:
    """The radius that scores carry; None where the ball says hardly more than a constant answer would.

    Only one from clips kept apart is published: the folds' networks are others than the one that is written.
    """
    if ball["from"] != "calibrate" or ball["radius"] is None:
        return None
    radius: float = ball["radius"]
    return radius if radius < CLEARLY_SMALLER * ball["constant_radius"] else None


def coverage_by_speaker(clips: Clips, rows: list[int], answers: Tensor, radius: float, head: str) -> dict[str, float]:
    """Share of each speaker's targets that lie within ``radius`` of the answers, and of all together (``""``)."""
    rows, answers, targets = _rated(clips, rows, answers, head)
    if not rows:
        return {}
    inside = _distances(answers, targets) <= radius
    speakers = [clips.clips[row].speaker for row in rows]
    shares = {"": round(float(inside.double().mean()), 4)}
    for speaker in sorted(set(speakers)):
        own = torch.tensor([name == speaker for name in speakers])
        shares[speaker] = round(float(inside[own].double().mean()), 4)
    return shares


def known_mean(target: Target) -> Tensor:
    """(dim,): mean of what is known; 0 where nothing is."""
    if target.is_known.all():
        return target.values.mean(dim=0)
    count = target.is_known.sum(dim=0).clamp(min=1)
    return torch.where(target.is_known, target.values, 0.0).sum(dim=0) / count


def _rated(clips: Clips, rows: list[int], answers: Tensor, head: str) -> tuple[list[int], Tensor, Tensor]:
    """Rows that are rated in every dimension, the published answers to them, and their targets."""
    target = clips.targets(rows)[head]
    is_rated = target.is_known.all(dim=1)
    kept = [row for row, is_known in zip(rows, is_rated.tolist(), strict=True) if is_known]
    return kept, clips.tasks[head].published(answers)[is_rated], target.values[is_rated]


def _finite(radius: float) -> float | None:
    """JSON knows no infinity."""
    return round(radius, 4) if math.isfinite(radius) else None


def _distances(answers: Tensor, targets: Tensor) -> Tensor:
    distances: Tensor = torch.linalg.vector_norm((answers - targets).double(), dim=1)
    return distances
