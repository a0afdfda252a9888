"""A unit's way: each result is made from the one before, and a duplicate's from the one scored in its stead."""

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pyarrow as pa
import pytest

from emosphere.audio.decode_outcome import RecordingHeader
from emosphere.inference import ScoredChannels
from pipelines.archive.recording import Recording
from pipelines.score.plan.cut import PLAN_SCHEMA
from pipelines.score.unit import FIRST_FAILED, DecodedUnit, Reason, Unit, UnitResult, results_of, units_of

HEADER = RecordingHeader(codec="flac", sample_rate_hz=16_000, num_channels=2, duration_ms=9_000)
SCORED = ScoredChannels(rows=[{"channel": 0}, {"channel": 1}], distinct_channels={0})


def unit(name: str) -> Unit:
    recording = Recording(source_uri=f"s3://b/{name}", kind="object", url=b"")
    return Unit(unit_id=0, recording_id=name, unit_index=0, num_units=1, attempts=1, recording=recording)


def results(*decoded: DecodedUnit) -> list[UnitResult]:
    """Of a part whose units all had the same scores."""
    units = [unit(f"{row}.wav") for row in range(len(decoded))]
    return results_of(units, dict(enumerate(decoded)), dict.fromkeys(range(len(decoded)), SCORED))


def test_units_are_the_rows_of_a_plan():
    row: dict[str, Any] = {"unit_id": 7, "recording_id": "r", "unit_index": 1, "num_units": 2, "attempts": 3}
    row |= {"source_uri": "s3://b/a.zip", "kind": "zip", "url": b"s3://b", "member": "a.wav", "content_version": "v"}
    [planned] = units_of(pa.Table.from_pylist([row], schema=PLAN_SCHEMA))
    assert (planned.unit_id, planned.unit_index, planned.num_units, planned.attempts) == (7, 1, 2, 3)
    assert planned.recording == Recording(
        source_uri="s3://b/a.zip", kind="zip", url=b"s3://b", member="a.wav", content_version="v"
    )


def test_what_decoding_came_to_is_small_and_stays_as_it_is():
    decoded = DecodedUnit(header=HEADER, audio_ms=9_000, end_ms=9_000, flaw=Reason("CORRUPT", "Damaged inside."))
    data = pickle.dumps(decoded)
    assert len(data) < 1_000
    assert pickle.loads(data) == decoded
    with pytest.raises(FrozenInstanceError):
        decoded.audio_ms = 0


def test_a_copied_channel_has_rows_and_is_not_counted():
    [result] = results(DecodedUnit(header=HEADER))
    assert (len(result.segments), result.num_distinct_segments) == (2, 1)


def test_a_unit_that_failed_keeps_no_scores():
    """Of what went to the model before."""
    [result] = results(DecodedUnit(header=HEADER, audio_ms=60_000, failure=Reason("CRASHED", "It died.")))
    assert (result.segments, result.distinct_channels, result.decoded.audio_ms) == ((), frozenset(), 60_000)


def test_a_duplicate_has_the_scores_of_the_first_under_its_own_name():
    first = DecodedUnit(header=HEADER, audio_ms=9_000, content_digest="d")
    scored, duplicate = results(first, DecodedUnit(content_digest="d", same_as=0))
    assert duplicate == replace(scored, unit=duplicate.unit)
    assert duplicate.unit.recording_id == "1.wav"


@pytest.mark.parametrize(
    ("failure", "message"), [(Reason("FETCH_FAILED", "It changed."), FIRST_FAILED), (Reason("EMPTY", "None."), "None.")]
)
def test_a_duplicate_of_a_failure_fails_alike(failure: Reason, message: str):
    """How the other one failed in passing is that one's own; what is wrong with the bytes is wrong with both."""
    _, duplicate = results(DecodedUnit(failure=failure), DecodedUnit(same_as=0))
    assert duplicate.decoded.failure == Reason(failure.code, message)
    assert duplicate.segments == ()
