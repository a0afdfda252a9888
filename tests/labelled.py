"""A clip's labels and nothing else of it: what a task is given."""

import math
from dataclasses import dataclass

NOT_RATED = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class LabelledClip:
    """Fulfils ``Labelled`` of emosphere.tasks.task; nobody labelled it, unless it is said."""

    vad: tuple[float, float, float] = NOT_RATED
    weak: bool = False
    category: str | None = None
    categories: tuple[str, ...] = ()
    ratings: str | None = None
    intensity: str | None = None
    gender: str | None = None
    transcript: str | None = None
