"""How far an answer may lie from its target: a ball of error, held against that of a constant answer."""

import math
from typing import Any

import torch
from torch import Tensor

from emosphere.clips.batches import Clips
from emosphere.metrics import conformal_radius
from emosphere.training import Answers

CLEARLY_SMALLER = 0.9
"""A radius is worth publishing below this share of the one that a constant answer needs."""


def error_ball(clips: Clips, rows: list[int], answers: Answers, learnt: list[int]) -> dict[str, Any]:
    """Radius that holds 90 % of the targets of ``rows``, and the radius of always answering the mean learnt target.

    ``answers`` are in the order of ``rows``, clips of speakers that the answering network did not learn from. Of too
    few clips both radii are None, with a ``reason``.
    """
    targets = clips.targets(rows)["vad"]
    constant = clips.targets(learnt)["vad"].mean(dim=0)
    radius = conformal_radius(_distances(answers["vad"].clamp(-1, 1), targets))
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


def is_informative(ball: dict[str, Any]) -> bool:
    """Whether the ball says clearly more than a constant answer would."""
    return ball["radius"] is not None and bool(ball["radius"] < CLEARLY_SMALLER * ball["constant_radius"])


def coverage_by_speaker(clips: Clips, rows: list[int], answers: Answers, radius: float) -> dict[str, float]:
    """Share of each speaker's targets that lie within ``radius`` of the answers, and of all together (``""``)."""
    inside = _distances(answers["vad"].clamp(-1, 1), clips.targets(rows)["vad"]) <= radius
    speakers = [clips.clips[row].speaker for row in rows]
    shares = {"": round(float(inside.double().mean()), 4)}
    for speaker in sorted(set(speakers)):
        own = torch.tensor([name == speaker for name in speakers])
        shares[speaker] = round(float(inside[own].double().mean()), 4)
    return shares


def _finite(radius: float) -> float | None:
    """JSON knows no infinity."""
    return round(radius, 4) if math.isfinite(radius) else None


def _distances(answers: Tensor, targets: Tensor) -> Tensor:
    distances: Tensor = torch.linalg.vector_norm((answers - targets).double(), dim=1)
    return distances
