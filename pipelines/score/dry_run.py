"""What a scoring run would do, without doing it."""

import contextlib
import datetime
import logging
from itertools import islice
from typing import Any

from emosphere.audio.decoding.child import IsolatedDecoder
from emosphere.errors import BadRecording
from pipelines.archive.fetch import Fetcher
from pipelines.archive.recording import Recording
from pipelines.score.job import Job
from pipelines.score.plan.begun import check_begun
from pipelines.score.plan.choose import Choice
from pipelines.score.plan.due import Due
from pipelines.score.policy import NO_ROLES, is_phone_call, withheld_channels
from pipelines.score.request import ScoreRequest

log = logging.getLogger("emosphere")
PROBED = 64
"""Recordings that are opened for their length (remote ones are fetched to scratch); the hours of the others follow
from their bytes."""
ASSUMED_RATE = 180.0
"""Seconds of audio per core second of the bundled model on a CPU; docs/benchmarks.md has the measurements."""


def preview(request: ScoreRequest) -> dict[str, Any]:
    """Counts, hours and core hours of what ``score`` would do now. Writes nothing to OUT."""
    job = Job(request)
    check_begun(job)
    with Choice() as choice:
        due = Due(job, choice)
        due.list_archives()
        due.compare_with_tables()
        sample = list(islice(choice.recordings(), 0, None, max(1, choice.chosen // PROBED)))[:PROBED]
    withheld = withheld_channels(request.roles, request.exception)
    probed_bytes, probed_s, probed_withheld = _probe(sample, job, withheld)
    # Values of a table tell no size: they count by number.
    share = choice.num_bytes / probed_bytes if probed_bytes else choice.chosen / max(len(sample), 1)
    audio_s = probed_s * share
    return {
        "recordings": choice.selected,
        "to_score": choice.chosen,
        "skipped": choice.skipped,
        "skipped_policy": choice.forgotten,
        "withheld": {str(channel): request.roles[channel] for channel in sorted(withheld)},
        "probed_skipped_policy": probed_withheld,
        "num_bytes": choice.num_bytes,
        "probed": len(sample),
        "audio_s": round(audio_s, 1),
        "assumed_rate": ASSUMED_RATE,
        "core_h": round(audio_s / ASSUMED_RATE / 3600, 4),
        "model": f"{job.checkpoint.name}-{job.checkpoint.digest}",
        "dt": request.dt or f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "out": job.out.path if job.out.is_local else job.out.uri,
    }


def _probe(sample: list[Recording], job: Job, withheld: frozenset[int]) -> tuple[int, float, int]:
    """Bytes, seconds to score, and how many recordings have only channels that are withheld."""
    num_bytes, audio_s, num_withheld, phone_calls = 0, 0.0, 0, False
    request = job.request
    fetcher = Fetcher(request.settings.fetch, request.settings.store)
    with IsolatedDecoder(request.settings.decode) as decoder, contextlib.closing(fetcher):
        for recording in sample:
            num_bytes += recording.num_bytes or 0
            try:
                stream = decoder.open(fetcher.local_path(job.seal.uncover(recording)))
                channels = set(range(stream.header.num_channels))
                audio_s += (stream.header.duration_ms or 0) / 1000 * len(channels - withheld)
                num_withheld += withheld >= channels
                phone_calls |= is_phone_call(stream.header.sample_rate_hz, len(channels))
                stream.close()
            except BadRecording:
                continue
    if phone_calls and not request.roles:
        log.warning(NO_ROLES)
    return num_bytes, audio_s, num_withheld
