"""From an archive to an immutable plan: units of bounded work, gathered into parts. Decodes nothing, opens no audio."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from emosphere.data.identity import recording_id
from emosphere.errors import RETRIED_CODES, UsageError
from pipelines.archive.dates import Window
from pipelines.archive.recording import Recording
from pipelines.ledger import Finished, Ledger, RunHeader
from pipelines.settings import PlanSettings, ScoreSettings

FIRST_PART_BYTES, FIRST_PART_UNITS, PART_GROWTH = 2 << 20, 4, 1.25
"""Parts begin small and grow, so that a small archive still makes enough of them to share out and to resume from."""

PLAN_SCHEMA = pa.schema(
    [
        ("unit_id", pa.int64()),
        ("recording_id", pa.string()),
        ("unit_index", pa.int32()),
        ("num_units", pa.int32()),
        ("attempts", pa.int32()),
        ("source_uri", pa.string()),
        ("kind", pa.string()),
        ("url", pa.binary()),
        ("member", pa.string()),
        ("offset", pa.int64()),
        ("num_bytes", pa.int64()),
        ("modified_us", pa.int64()),
        ("content_version", pa.string()),
        ("attributes", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
    ]
)
"""One row per unit: span ``unit_index`` of ``num_units`` of a recording, all its channels. Which seconds that is shows
when the recording is opened: header probing happens while scoring, by many workers, not here."""


@dataclass(slots=True)
class Selection:
    """What listing found, counted on the way."""

    listed: int = 0
    selected: int = 0
    skipped: int = 0


def select(
    recordings: Iterable[Recording],
    *,
    window: Window,
    finished: dict[bytes, Finished],
    settings_digest: str,
    limit: int | None,
    counts: Selection,
) -> Iterator[tuple[Recording, str, int]]:
    """``(recording, recording_id, attempts)`` of those in the window that are not finished; counts all it sees."""
    for recording in recordings:
        counts.listed += 1
        if not window.holds(recording):
            continue
        if limit is not None and counts.selected >= limit:
            return
        counts.selected += 1
        identity = recording_id(recording.source_uri)
        before = finished.get(bytes.fromhex(identity))
        # What listing could not reach has no version to compare; its scores stay until it can be reached again.
        lost = recording.error_code in RETRIED_CODES and before is not None and before.status != "failed"
        if before is not None and (lost or before.stands_for(recording.content_version, settings_digest)):
            counts.skipped += 1
            continue
        same = before is not None and before.content_version == recording.content_version
        yield recording, identity, (before.attempts if before is not None and same else 0) + 1


def write_plan(
    ledger: Ledger,
    header: RunHeader,
    chosen: Iterable[tuple[Recording, str, int]],
    counts: Selection,
    settings: ScoreSettings,
) -> RunHeader | None:
    """Write the plan of a run and return its final header; None, and nothing written, if nothing is to be done.

    Raises UsageError for an archive without any recording.
    """
    part, rows, part_bytes = 0, [], 0
    num_units = num_recordings = num_bytes = 0
    max_bytes, max_units = float(FIRST_PART_BYTES), float(FIRST_PART_UNITS)
    for recording, identity, attempts in chosen:
        if not num_recordings:
            ledger.begin(header)
        units = _num_units(recording, settings.plan, settings.fetch.max_bytes)
        for index in range(units):
            row: dict[str, Any] = {"unit_id": num_units, "unit_index": index, "num_units": units}
            row |= {"recording_id": identity, "attempts": attempts}
            rows.append(row | asdict(recording))
            num_units += 1
            part_bytes += (recording.num_bytes or 0) // units
            if part_bytes >= min(max_bytes, settings.plan.part_bytes) or len(rows) >= min(
                max_units, settings.plan.part_units
            ):
                ledger.write_plan_part(header.run_id, part, pa.Table.from_pylist(rows, schema=PLAN_SCHEMA))
                part, rows, part_bytes = part + 1, [], 0
                max_bytes, max_units = max_bytes * PART_GROWTH, max_units * PART_GROWTH
        num_recordings += 1
        num_bytes += recording.num_bytes or 0
    if rows:
        ledger.write_plan_part(header.run_id, part, pa.Table.from_pylist(rows, schema=PLAN_SCHEMA))
        part += 1
    if not counts.listed:
        raise UsageError(f"{', '.join(header.archives)}: no recordings there (hidden files and sidecars do not count).")
    if not num_recordings:
        return None
    final = replace(
        header,
        num_parts=part,
        num_units=num_units,
        num_recordings=num_recordings,
        num_skipped=counts.skipped,
        num_bytes=num_bytes,
    )
    ledger.write_header(final)
    return final


def _num_units(recording: Recording, settings: PlanSettings, max_bytes: int) -> int:
    # One unit is enough to refuse it.
    if recording.error_code is not None or not recording.num_bytes or recording.num_bytes > max_bytes:
        return 1
    return -(-recording.num_bytes // settings.unit_bytes)
