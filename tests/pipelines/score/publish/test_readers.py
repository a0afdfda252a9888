"""What readers see: a recording whole, the old one or the new one, through every engine, with what each field means."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from emosphere.settings import SpeechSettings
from emosphere.speech.cut_segments import SegmentConfig
from emosphere.tables.schema import TABLES
from pipelines.score.command import score
from pipelines.score.publish import replace as publishing
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import ScoreSettings


def request_for(archive: Path, out: Path) -> ScoreRequest:
    return ScoreRequest(archives=(str(archive),), out=str(out), dt="2026-11-20")


State = tuple[dict[str, int], dict[str, int]]
"""Segments promised by ``recordings``, and rows of ``segments``, by recording."""


def by_duckdb(out: Path) -> State:
    with duckdb.connect() as connection:
        recordings = connection.sql(
            f"SELECT recording_id, num_segments FROM '{out}/recordings/*/*/*.parquet' WHERE status = 'scored'"
        ).fetchall()
        segments = connection.sql(
            f"SELECT recording_id, count(*) FROM '{out}/segments/*/*/*.parquet' GROUP BY 1"
        ).fetchall()
    return dict(recordings), dict(segments)


def by_pyarrow(out: Path) -> State:
    recordings = pads.dataset(out / "recordings").to_table(["recording_id", "status", "num_segments"]).to_pylist()
    segments = pads.dataset(out / "segments").to_table(["recording_id"]).column("recording_id").to_pylist()
    return {r["recording_id"]: r["num_segments"] for r in recordings if r["status"] == "scored"}, Counter(segments)


class GlobReader(threading.Thread):
    """Reads both tables by plain glob, recordings first, again and again, as somebody's dashboard would."""

    def __init__(self, out: Path, engine: Callable[[Path], State]) -> None:
        super().__init__()
        self.out, self.engine, self.done = out, engine, threading.Event()
        self.seen: list[State] = []

    def run(self) -> None:
        while not self.done.is_set():
            if not list(self.out.glob("recordings/*/*/*.parquet")):
                continue
            # DuckDB opens a file twice: caught between two versions it fails, and the question is asked again.
            with contextlib.suppress(duckdb.Error):
                self.seen.append(self.engine(self.out))

    def __enter__(self) -> "GlobReader":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()


def slowly(monkeypatch) -> None:
    """Leave time between the two tables: a reader must find the moment between them."""
    replace_file = publishing._replace

    def replace_and_wait(*args):
        version = replace_file(*args)
        time.sleep(0.3)
        return version

    monkeypatch.setattr(publishing, "_replace", replace_and_wait)


@pytest.mark.parametrize("engine", [by_duckdb, by_pyarrow])
def test_who_sees_a_scored_recording_sees_all_its_segments(archive, tmp_path, monkeypatch, engine):
    slowly(monkeypatch)
    out = tmp_path / "out"
    with GlobReader(out, engine) as reader:
        score(request_for(archive, out))
        time.sleep(0.5)
    assert len(reader.seen) > 10
    assert all(segments.get(r, 0) == n for recordings, segments in reader.seen for r, n in recordings.items())


@pytest.mark.parametrize("engine", [by_duckdb, by_pyarrow])
def test_a_reader_by_glob_never_sees_half_a_recording(archive, tmp_path, monkeypatch, engine):
    """A second run publishes meanwhile, whose settings change how many segments each recording has: a reader sees the
    old number or the new one.
    """
    out = tmp_path / "out"
    score(request_for(archive, out))
    slowly(monkeypatch)

    def counts() -> dict[str, int]:
        return dict(duckdb.sql(f"SELECT recording_id, num_segments FROM '{out}/recordings/*/*/*.parquet'").fetchall())

    before = counts()
    with GlobReader(out, engine) as reader:
        settings = ScoreSettings(listen=SpeechSettings(segment=SegmentConfig(max_s=3.0)))
        score(replace(request_for(archive, out), settings=settings))
        time.sleep(0.5)
    after = counts()
    assert before != after
    states = [segments for _, segments in reader.seen]
    assert {tuple(sorted(state.items())) for state in states} == {
        tuple(sorted((r, n) for r, n in whole.items() if n)) for whole in (before, after)
    }
    assert len(reader.seen) > 20


def test_every_reader_reads_the_partitions(archive, tmp_path):
    """Types are plain, and every field says what it means."""
    out = tmp_path / "out"
    score(request_for(archive, out))
    for table, columns in TABLES.items():
        files = sorted((out / table).rglob("*.parquet"))
        schema = pq.read_schema(files[0])
        assert schema.names == [column.name for column in columns]
        for field, column in zip(schema, columns, strict=True):
            assert field.type == column.type
            assert field.metadata[b"meaning"].decode() == column.meaning
            assert field.metadata.get(b"unit", b"").decode() == column.unit
    metadata = pq.read_schema(next((out / "segments").rglob("*.parquet"))).metadata
    assert {b"schema_version", b"scale", b"axes", b"regions", b"model_licence"} <= metadata.keys()
    by_pandas = pd.read_parquet(out / "segments")
    by_pyarrow = pads.dataset(out / "segments", partitioning="hive").to_table()
    by_duckdb = duckdb.sql(f"SELECT * FROM read_parquet('{out}/segments/**/*.parquet', hive_partitioning=true)").df()
    assert len(by_pandas) == len(by_pyarrow) == len(by_duckdb)
    assert {"dt", "model"} <= set(by_pandas) & set(by_pyarrow.column_names) & set(by_duckdb)
    types = duckdb.sql(
        f"DESCRIBE SELECT * FROM read_parquet('{out}/segments/*/*/*.parquet', hive_partitioning=false)"
    ).fetchall()
    assert {row[1] for row in types} <= {"VARCHAR", "INTEGER", "BIGINT", "FLOAT", "BOOLEAN", "TIMESTAMP WITH TIME ZONE"}
