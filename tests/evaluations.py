"""What a training's evaluation.json holds, made up."""

from typing import Any

from emosphere.tasks import Task
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask


def part(clips: int, valence: float) -> dict[str, Any]:
    regions = {
        "clips": clips,
        "uar": 0.5,
        "chance": 0.5,
        "names": ["one", "two"],
        "confusion": {"one": [3, 1], "two": [2, 4]},
    }
    return {
        "clips": clips,
        "ccc": {"valence": valence, "arousal": 0.6, "dominance": 0.3},
        "region_of_vad": regions,
        "region_head": regions,
    }


TASKS: dict[str, Task] = {"vad": VadTask(), "region": RegionTask()}
"""What the model answers."""
EVALUATION: dict[str, Any] = {
    "name": "tiny",
    "date": "2026-11-21",
    "parameters": 1234,
    "trained_on": {"a": {"clips": 5, "speakers": 2}},
    "evaluated_on": {"a": {"clips": 10, "speakers": 1}},
    "test": part(10, 0.411) | {"corpora": {"a": part(10, 0.411)}},
    "test_distorted": None,
    "cross_validation": None,
    "rated": {"clips": 28, "ccc": {"valence": 0.2, "arousal": 0.7}},
    "regions_that_never_occur": ["A-V-D+"],
}
