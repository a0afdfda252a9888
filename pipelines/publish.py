"""From staged units to the published tables: each file replaced whole, segments before recordings, twice the same."""

import datetime
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emosphere.data.identity import file_number
from emosphere.data.schema import arrow_schema
from emosphere.errors import RETRIED_CODES, MachineError
from emosphere.store import ABSENT, Location
from pipelines.ledger import Finished, Ledger, RunHeader, read_parquet

FILE_BYTES = 128 << 20
"""Size a published file is meant to reach; the number of files of a partition follows from it once, and stays."""

SORT_KEYS = {"segments": ["recording_id", "channel", "start_ms"], "recordings": ["recording_id"]}


@dataclass(slots=True)
class Folded:
    """A run's results, recording by recording."""

    recordings: list[dict[str, Any]] = field(default_factory=list)
    segments: list[pa.Table] = field(default_factory=list)
    audio_ms: int = 0
    speech_ms: int = 0

    def count(self, status: str) -> int:
        return sum(row["status"] == status for row in self.recordings)


def fold(units: Iterable[dict[str, Any]], header: RunHeader) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """One ``recordings`` row, its ``segments`` rows, and milliseconds of audio, from all units of one recording."""
    units = sorted(units, key=lambda unit: unit["unit_index"])
    first, last = units[0], units[-1]
    failure = next((unit for unit in units if unit["error_code"] is not None), None)
    flaws = sorted((unit for unit in units if unit["flaw_code"] is not None), key=lambda unit: unit["flaw_code"])
    distinct = {channel for unit in units for channel in unit["distinct_channels"]}
    segments = []
    if failure is None:
        rows = [row for unit in units for row in unit["segments"] if row["channel"] in distinct]
        rows.sort(key=lambda row: (row["channel"], row["start_ms"]))
        index: dict[int, int] = defaultdict(int)
        for row in rows:
            channel = row["channel"]
            segments.append(
                row
                | {
                    "recording_id": first["recording_id"],
                    "source_uri": first["source_uri"],
                    "role": header.roles.get(str(channel)),
                    "speaker": None,
                    "segment_index": index[channel],
                    "run_id": header.run_id,
                    "scored_at": last["scored_at"],
                }
            )
            index[channel] += 1
    ends = [unit["end_ms"] for unit in units if unit["end_ms"] is not None]
    code, message = _reason(failure, flaws, max(ends, default=0), first["header_ms"])
    heard = failure is None and first["num_channels"] is not None
    withheld = any(unit["withheld"] for unit in units)
    recording = {
        name: first[name]
        for name in ("recording_id", "source_uri", "content_version", "num_bytes", "codec", "sample_rate_hz")
    } | {
        "content_digest": None,
        "modified_at": None if first["modified_us"] is None else _time(first["modified_us"]),
        "num_channels": first["num_channels"],
        "num_channels_skipped": first["num_channels"] - len(distinct) if heard and (distinct or withheld) else 0,
        "duration_ms": max(ends) if ends else first["header_ms"],
        "status": _status(failed=failure is not None, spoken=bool(segments), withheld=withheld and not distinct),
        "error_code": code,
        "error_message": message,
        "attempts": first["attempts"],
        "num_segments": len(segments),
        "settings_digest": header.settings_digest,
        "attributes": first["attributes"],
        "run_id": header.run_id,
        "scored_at": last["scored_at"],
    }
    return recording, segments, sum(unit["audio_ms"] for unit in units)


def _status(*, failed: bool, spoken: bool, withheld: bool) -> str:
    """``withheld``: policy let no channel of it be heard."""
    return "failed" if failed else "scored" if spoken else "skipped_policy" if withheld else "no_speech"


def _reason(
    failure: dict[str, Any] | None, flaws: list[dict[str, Any]], end_ms: int, header_ms: int | None
) -> tuple[str | None, str | None]:
    """Code and words of a recording. A damaged inside (CORRUPT) says more than an early end (TRUNCATED)."""
    if failure is not None:
        return failure["error_code"], failure["error_message"]
    if not flaws:
        return None, None
    flaw = flaws[0]
    if flaw["num_units"] > 1 and flaw["flaw_code"] == "TRUNCATED" and header_ms is not None:
        # A unit that begins behind the end cannot know where the end was; all units together do.
        return "TRUNCATED", f"Only {end_ms / 1000:.2f} s of {header_ms / 1000:.2f} s came out."
    return flaw["flaw_code"], flaw["flaw_message"]


def fold_run(ledger: Ledger, header: RunHeader) -> Folded:
    """Fold all staged parts. Raises MachineError unless every unit of the plan is there exactly once."""
    folded = Folded()
    waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
    seen: set[int] = set()
    schema = arrow_schema("segments")
    for part in range(header.num_parts):
        rows: list[dict[str, Any]] = []
        for unit in ledger.staged_part(header.run_id, part).to_pylist():
            if unit["unit_id"] in seen:
                continue
            seen.add(unit["unit_id"])
            waiting[unit["recording_id"]].append(unit)
            if len(waiting[unit["recording_id"]]) == unit["num_units"]:
                recording, segments, audio_ms = fold(waiting.pop(unit["recording_id"]), header)
                folded.recordings.append(recording)
                folded.audio_ms += audio_ms
                folded.speech_ms += sum(row["speech_ms"] for row in segments)
                rows += segments
        if rows:
            folded.segments.append(pa.Table.from_pylist(rows, schema=schema))
    if len(seen) != header.num_units or waiting:
        raise MachineError(
            f"Run {header.run_id}: staged {len(seen)} of {header.num_units} planned units, {len(waiting)} recordings "
            "incomplete; nothing was published. Run the same command again."
        )
    return folded


def has_passing_failure(staged: pa.Table) -> bool:
    """Whether a staged part holds a unit that failed for a reason which may have passed."""
    return any(code in RETRIED_CODES for code in staged.column("error_code").to_pylist())


def publish(ledger: Ledger, header: RunHeader, folded: Folded, finished: dict[bytes, Finished]) -> None:
    """Put the run's rows in place of what the tables held of its recordings; all else stays as it was.

    A recording already published under some dt is replaced there. Doing it twice, or again after dying anywhere
    within, leaves the same files: what is written depends on the staged rows and the other recordings' rows alone.
    """
    by_dt: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in folded.recordings:
        before = finished.get(bytes.fromhex(row["recording_id"]))
        by_dt[before.dt if before else header.dt].append(row)
    segments = pa.concat_tables(folded.segments) if folded.segments else arrow_schema("segments").empty_table()
    replaced: dict[str, str] = {}
    for dt, rows in sorted(by_dt.items()):
        num_files, is_new = _files_of(ledger, header, dt, segments.nbytes)
        numbers: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            numbers[file_number(row["recording_id"], num_files)].append(row)
        wanted = range(num_files) if is_new else sorted(numbers)
        for number in wanted:
            here = pa.Table.from_pylist(numbers[number], schema=arrow_schema("recordings"))
            ids = here.column("recording_id")
            spoken = segments.filter(pc.is_in(segments.column("recording_id"), value_set=ids.combine_chunks()))
            for table, new in (("segments", spoken), ("recordings", here)):
                path = f"{table}/dt={dt}/model={header.model_partition}/part-{number:02d}.parquet"
                replaced[path] = _replace(ledger, path, table, new, ids, header)
    _commit_snapshot(ledger, header, replaced)


def write_run_row(ledger: Ledger, header: RunHeader, result: dict[str, Any], host: dict[str, Any]) -> None:
    """The run's row in ``runs``."""
    row = {
        "run_id": header.run_id,
        "dt": header.dt,
        "config": json.dumps(header.config, sort_keys=True),
        "settings_digest": header.settings_digest,
        "schema_version": int(arrow_schema("runs").metadata[b"schema_version"]),
        "code_version": host["emosphere"],
        "model_name": header.model_name,
        "model_digest": header.model_digest,
        "model_licence": header.model_licence,
        "archives": json.dumps(header.archives),
        "purpose": header.purpose,
        "roles": json.dumps(header.roles) if header.roles else None,
        "exception": header.exception,
        "started_at": datetime.datetime.fromisoformat(header.started_at),
        "ended_at": datetime.datetime.now(datetime.UTC),
        "host": json.dumps(host, sort_keys=True),
    }
    row |= {name: result[name] for name in COUNTED}
    table = pa.Table.from_pylist([row], schema=arrow_schema("runs"))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    ledger.out.child("runs", f"{header.run_id}.parquet").write_bytes(buffer.getvalue())


COUNTED = [
    "recordings",
    "scored",
    "no_speech",
    "failed",
    "skipped",
    "skipped_policy",
    "segments",
    "audio_s",
    "speech_s",
    "wall_s",
]
"""Figures that the JSON result and the ``runs`` row share."""


def _replace(
    ledger: Ledger,
    path: str,
    table: str,
    new: pa.Table,
    replaced_ids: pa.ChunkedArray,
    header: RunHeader,
) -> str:
    """Write one published file anew and return the key of the version kept for snapshots, below OUT."""
    schema = arrow_schema(table, header.file_metadata)
    kept = new
    try:
        old = read_parquet(ledger.out.child(path))
        others = old.filter(pc.invert(pc.is_in(old.column("recording_id"), value_set=replaced_ids.combine_chunks())))
        kept = pa.concat_tables([others.select(new.column_names).cast(new.schema), new])
    except ABSENT:
        pass
    kept = kept.sort_by([(key, "ascending") for key in SORT_KEYS[table]])
    buffer = io.BytesIO()
    pq.write_table(kept.replace_schema_metadata(schema.metadata).cast(schema), buffer, compression="zstd")
    version = f"_emosphere/tables/{path.removesuffix('.parquet')}.{header.run_id}.parquet"
    ledger.out.child(version).write_bytes(buffer.getvalue())
    ledger.out.child(version).publish_to(ledger.out.child(path))
    return version


def _files_of(ledger: Ledger, header: RunHeader, dt: str, run_bytes: int) -> tuple[int, bool]:
    """Number of files of a partition, and whether some are still missing (then all are written, empty ones too).

    Chosen by expected size when the partition is first written, then kept, so that a recording's rows are always found
    in the same file.
    """
    note = ledger.home.child("partitions", f"dt={dt}", f"model={header.model_partition}.json")
    expected = max(1, -(-run_bytes // 4 // FILE_BYTES))  # in memory; compressed rows take about a quarter
    note.create_bytes(json.dumps({"num_files": expected}).encode())
    num_files = int(json.loads(note.read_bytes())["num_files"])
    there = [sum(at == dt for at, _ in ledger.published(table, header.model_partition)) for table in SORT_KEYS]
    return num_files, min(there) < num_files


def _commit_snapshot(ledger: Ledger, header: RunHeader, replaced: dict[str, str]) -> None:
    """Point ``emosphere sql`` at all files of this run at once, and drop versions nobody can still be reading."""
    pointer = ledger.home.child("snapshot.json")
    before = read_snapshot(ledger.out) or {"files": {}, "previous": {}}
    files = before["files"] | replaced
    previous = before["files"] if before.get("run_id") != header.run_id else before["previous"]
    pointer.write_bytes(
        json.dumps({"run_id": header.run_id, "files": files, "previous": previous}, sort_keys=True, indent=1).encode()
    )
    # A reader may still be on the snapshot before this one, not on an older one.
    for version in set(before["previous"].values()) - set(files.values()) - set(previous.values()):
        ledger.out.child(version).remove()


def read_snapshot(out: Location) -> dict[str, Any] | None:
    """The committed snapshot: published path -> kept version of it, both below OUT."""
    try:
        snapshot: dict[str, Any] = json.loads(out.child("_emosphere", "snapshot.json").read_bytes())
    except ABSENT:
        return None
    return snapshot


def _time(microseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(microseconds / 1_000_000, datetime.UTC)
