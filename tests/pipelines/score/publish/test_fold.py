"""The staged units of one recording come to one row and its segments."""

import datetime
from typing import Any

import pytest

from emosphere.audio.decode_outcome import RecordingHeader
from pipelines.archive.recording import Recording
from pipelines.score.publish.fold import WholeRecording, fold
from pipelines.score.publish.staged import STAGED_SCHEMA, staged_part
from pipelines.score.unit import DecodedUnit, Reason, Unit, UnitResult
from tests.pipelines.headers import run_header

HEADER = RecordingHeader(codec="flac", sample_rate_hz=16_000, num_channels=2, duration_ms=300_000)
NOON = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
ENDS_EARLY = Reason("TRUNCATED", "Only 100.00 s of 300.00 s came out: the file ends early.")


def whole(*decoded: DecodedUnit, segments: dict[int, list[dict[str, Any]]] | None = None) -> WholeRecording:
    """A recording of these units, staged in the wrong order; ``segments`` by unit, of channels that are distinct."""
    recording = Recording(source_uri="s3://b/a.flac", kind="object", url=b"", modified_us=1_000_000)
    results = []
    for index, one in enumerate(decoded):
        rows = (segments or {}).get(index, [])
        unit = Unit(
            unit_id=index, recording_id="a", unit_index=index, num_units=len(decoded), attempts=1, recording=recording
        )
        distinct = frozenset(row["channel"] for row in rows)
        results.append(UnitResult(unit=unit, decoded=one, segments=rows, distinct_channels=distinct))
    staged = staged_part(reversed(results), NOON)
    assert staged.schema == STAGED_SCHEMA
    return fold(staged.to_pylist(), run_header(roles={"1": "customer"}))


def test_segments_are_numbered_within_recording_and_channel():
    unit = DecodedUnit(header=HEADER, audio_ms=1, end_ms=1)
    starts = {0: [(0, 10), (1, 0), (0, 0)], 1: [(1, 60_000)]}
    segments = {row: [{"channel": c, "start_ms": start} for c, start in some] for row, some in starts.items()}
    row, rows, audio_ms = whole(unit, unit, segments=segments)
    places = [(segment["channel"], segment["start_ms"], segment["segment_index"], segment["role"]) for segment in rows]
    assert places == [(0, 0, 0, None), (0, 10, 1, None), (1, 0, 0, "customer"), (1, 60_000, 1, "customer")]
    assert (row["status"], row["num_segments"], row["num_channels_skipped"], audio_ms) == ("scored", 4, 0, 2)
    assert row["modified_at"] == datetime.datetime.fromtimestamp(1, datetime.UTC)


@pytest.mark.parametrize(
    ("decoded", "status", "code", "skipped"),
    [
        (DecodedUnit(header=HEADER, end_ms=9), "no_speech", None, 0),
        (DecodedUnit(header=HEADER, end_ms=9, is_withheld=True), "skipped_policy", None, 2),
        (DecodedUnit(failure=Reason("EMPTY", "No bytes.")), "failed", "EMPTY", 0),
        (DecodedUnit(header=HEADER, failure=Reason("CRASHED", "It died.")), "failed", "CRASHED", 0),
    ],
)
def test_a_recording_without_segments_says_why(
    decoded: DecodedUnit, status: str, code: str | None, skipped: int
) -> None:
    row = whole(decoded).row
    assert (row["status"], row["error_code"], row["num_channels_skipped"]) == (status, code, skipped)


def test_a_unit_that_failed_leaves_no_segments_of_the_others():
    failed = DecodedUnit(header=HEADER, failure=Reason("TIMED_OUT", "Too slow."))
    row, rows, _ = whole(DecodedUnit(header=HEADER), failed, segments={0: [{"channel": 0, "start_ms": 0}]})
    assert (row["status"], row["error_message"], rows) == ("failed", "Too slow.", [])


def test_where_a_recording_ends_early_is_known_to_its_units_together():
    """One that begins behind the end knows only that it has nothing."""
    units = [DecodedUnit(header=HEADER, end_ms=100_000), DecodedUnit(header=HEADER, flaw=ENDS_EARLY)]
    row = whole(*units).row
    assert (row["error_code"], row["error_message"]) == ("TRUNCATED", "Only 100.00 s of 300.00 s came out.")
    assert (row["duration_ms"], row["status"]) == (100_000, "no_speech")


def test_a_damaged_inside_says_more_than_an_early_end():
    damaged = DecodedUnit(header=HEADER, end_ms=9, flaw=Reason("CORRUPT", "Damaged inside."))
    row = whole(DecodedUnit(header=HEADER, flaw=ENDS_EARLY), damaged).row
    assert (row["error_code"], row["error_message"]) == ("CORRUPT", "Damaged inside.")
