"""Foreign annotation tables to our targets: the only place that knows their column names and emotion words."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosphere.errors import UsageError
from emosphere.geometry import region_of

MEAN_VAD: Final[dict[str, tuple[float, float, float]]] = {
    "anger": (-0.51, 0.59, 0.25),
    "happiness": (0.81, 0.51, 0.46),
    "sadness": (-0.63, -0.27, -0.33),
    "fear": (-0.64, 0.60, -0.43),
    "disgust": (-0.60, 0.35, 0.11),
    "surprise": (0.40, 0.67, -0.13),
    "boredom": (-0.65, -0.62, -0.33),
    "calm": (0.68, -0.46, 0.06),
    "neutral": (0.0, 0.0, 0.0),
}
"""Centred (V, A, D) that people gave to each emotion word: Russell & Mehrabian (1977), their "relaxed" for calm.

Weak labels: means over a word, not ratings of these voices. Their dominance is nearly a copy of valence."""

EMOTIONS: Final = tuple(MEAN_VAD)
"""Emotion words; a category label is an index into them."""

STRONG: Final = 1.0
"""Share of the mean for an emotion acted strongly."""
OTHERWISE: Final = 0.75
"""Share of the mean for any other intensity, also one the corpus does not give."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One labelled clip of a manifest."""

    path: Path
    speaker: str
    """Voices that may be one person share a name, see :func:`read_manifest`."""
    corpus: str
    split: str
    emotion: str
    vad: tuple[float, float, float]
    """Weak label, centred (V, A, D)."""
    region: int
    """Index of the target's region, -1 for neutral, which has no direction."""
    rated: tuple[float, float] | None
    """Valence and arousal as listeners rated them, where the corpus says."""


def weak_vad(emotion: str, intensity: str) -> tuple[float, float, float]:
    """Target of an acted emotion: the word's mean, whole where acted strongly, three quarters otherwise.

    >>> weak_vad("sadness", "strong")
    (-0.63, -0.27, -0.33)
    """
    share = STRONG if intensity == "strong" else OTHERWISE
    valence, arousal, dominance = MEAN_VAD[emotion]
    return (share * valence, share * arousal, share * dominance)


def read_manifest(path: str | Path, *, num_regions: int = 8) -> list[Clip]:
    """Clips of a CSV manifest with columns ``path, speaker, emotion, intensity, corpus, split`` (others are ignored).

    Paths are relative to the manifest's folder or the one above. Raises UsageError for a missing column, an unknown
    emotion or an empty table.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a manifest ({error}).") from error
    if not rows:
        raise UsageError(f"{path}: holds no clip; wanted a CSV table with a header and one row per clip.")
    missing = {"path", "speaker", "emotion", "intensity", "corpus", "split"} - rows[0].keys()
    if missing:
        raise UsageError(f"{path}: lacks the columns {', '.join(sorted(missing))}.")
    return [_clip(row, path, num_regions) for row in rows]


def vad_targets(clips: Sequence[Clip]) -> Float[Tensor, "clip 3"]:
    """Weak labels, centred (V, A, D)."""
    return torch.tensor([clip.vad for clip in clips]).reshape(-1, 3)


def region_targets(clips: Sequence[Clip]) -> Int[Tensor, "clip"]:
    """Region indices, -1 for neutral."""
    return torch.tensor([clip.region for clip in clips], dtype=torch.long)


def category_targets(clips: Sequence[Clip]) -> Int[Tensor, "clip"]:
    """Indices into EMOTIONS."""
    return torch.tensor([EMOTIONS.index(clip.emotion) for clip in clips], dtype=torch.long)


def _clip(row: dict[str, str], manifest: Path, num_regions: int) -> Clip:
    emotion = row["emotion"]
    if emotion not in MEAN_VAD:
        raise UsageError(f"{manifest}: {row['path']}: emotion {emotion!r} is not one of {', '.join(EMOTIONS)}.")
    vad = weak_vad(emotion, row["intensity"])
    # In float64: regions are decided by signs and angles of the published numbers.
    region = -1 if emotion == "neutral" else int(region_of(torch.tensor(vad, dtype=torch.float64), num_regions))
    near, above = manifest.parent / row["path"], manifest.parent.parent / row["path"]
    valence, arousal = row.get("valence"), row.get("arousal")
    return Clip(
        path=near if near.exists() else above,
        speaker=_person(row["speaker"]),
        corpus=row["corpus"],
        split=row["split"],
        emotion=emotion,
        vad=vad,
        region=region,
        rated=(float(valence), float(arousal)) if valence and arousal else None,
    )


def _person(speaker: str) -> str:
    """Speaker, with the two readings that emotiontts names by one letter (ema, nea) taken as one person.

    The source does not say whether they are; taking them apart could let a voice stand on both sides of a split.
    """
    corpus, _, name = speaker.partition("_")
    return f"{corpus}_{name[2:]}" if corpus == "emotiontts" and name[:2] in {"em", "ne"} else speaker
