"""What a command reports: the one JSON object, and what a table's file says of its numbers."""

import json
from typing import Any

from emosphere.model.description import Description
from emosphere.region_names import REGION_NAMES
from emosphere.store import Location
from emosphere.tasks.region import num_regions
from pipelines.output.ledger import RunHeader
from pipelines.score.publish.fold import Folded


def result_of(header: RunHeader, folded: Folded, out: Location, wall_s: float) -> dict[str, Any]:
    """Result of a run: ``recordings`` = scored + no_speech + failed + skipped + skipped_policy."""
    return counts(
        header.run_id,
        **{status: folded.count(status) for status in ("scored", "no_speech", "failed")},
        skipped_policy=folded.count("skipped_policy") + folded.num_forgotten + header.num_forgotten,
        skipped=header.num_skipped,
        segments=folded.num_segments,
        audio_s=folded.audio_ms / 1000,
        speech_s=folded.speech_ms / 1000,
        out=out,
        wall_s=wall_s,
    )


def counts(
    run_id: str,
    *,
    out: Location,
    wall_s: float,
    scored: int = 0,
    no_speech: int = 0,
    failed: int = 0,
    skipped: int = 0,
    skipped_policy: int = 0,
    segments: int = 0,
    audio_s: float = 0.0,
    speech_s: float = 0.0,
) -> dict[str, Any]:
    """The JSON object of the contract."""
    return {
        "run_id": run_id,
        "recordings": scored + no_speech + failed + skipped + skipped_policy,
        "scored": scored,
        "no_speech": no_speech,
        "failed": failed,
        "skipped": skipped,
        "skipped_policy": skipped_policy,
        "segments": segments,
        "audio_s": round(audio_s, 3),
        "speech_s": round(speech_s, 3),
        "wall_s": round(wall_s, 3),
        "out": out.path if out.is_local else out.uri,
    }


def file_metadata(checkpoint: Description) -> dict[str, str]:
    """Scale, axes, regions, model and licence, for the metadata of every published file."""
    return {
        "scale": "centred: every dimension in [-1, 1], 0 is the middle of the rating scale",
        "axes": "x = arousal, y = valence, z = dominance; azimuth = atan2(v, a), polar = angle from +dominance",
        "regions": json.dumps(REGION_NAMES[num_regions(checkpoint.config.tasks)]),
        "model": f"{checkpoint.name}-{checkpoint.digest}",
        "model_licence": checkpoint.licence,
        "meaning": "perceived vocal expression as a model estimates it; not feeling, intent or truth",
    }
