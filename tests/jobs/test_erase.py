"""emosphere erase at the door: one clear message, exit codes, one JSON line."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from emosphere.tables.identity import recording_id
from emosphere.tables.schema import arrow_schema
from pipelines.output.ledger import parquet_bytes

URI = "s3://calls/customer-17/a.wav"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables of two recordings, as a run would publish them."""
    for table in ("segments", "recordings"):
        rows = []
        for uri in (URI, "s3://calls/customer-170/b.wav"):
            empty = {"string": "x", "int64": 0, "int32": 0, "float": 0.0, "bool": False}
            row = {field.name: empty.get(str(field.type)) for field in arrow_schema(table)}
            row |= {"recording_id": recording_id(uri), "source_uri": uri, "scored_at": datetime.now(UTC)}
            rows.append(row | ({"attributes": None} if table == "recordings" else {}))
        path = tmp_path / "out" / table / "dt=2026-11-20" / "model=m-0" / "part-00.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(parquet_bytes(pa.Table.from_pylist(rows, schema=arrow_schema(table))))
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exactly one of --recording, --uri, --speaker and --older-than"),
        (["--recording", "a" * 32, "--uri", "x"], "exactly one of"),
        (["--recording", "0xyz"], "is not a recording_id: 32 hex digits"),
        (["--older-than", "90"], "is not a number of days such as 90d"),
        (["--uri", "/"], "that is everything"),
    ],
    ids=str,
)
def test_a_wrong_word_is_one_message_and_exit_code_2(emosphere, tables, words, message):
    answer = emosphere("erase", tables, *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_where_no_tables_are_nothing_is_made(emosphere, tmp_path):
    answer = emosphere("erase", tmp_path / "nowhere", "--uri", URI)
    assert answer.code == 2
    assert "no tables there" in answer.err
    assert not (tmp_path / "nowhere").exists()


def test_a_recording_goes_and_json_says_so(emosphere, tables, rows_of):
    planned = emosphere("erase", tables, "--uri", URI, "--dry-run")
    assert "would erase 1 recordings with 1 segments" in planned.out
    assert len(rows_of(tables, "recordings")) == 2
    answer = emosphere("erase", tables, "--uri", "s3://calls/customer-17/", "--verify", "--json")
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    assert (answer.json["recordings"], answer.json["segments"], answer.json["verified"]) == (1, 1, True)
    for table in ("segments", "recordings"):
        assert [row["source_uri"] for row in rows_of(tables, table)] == ["s3://calls/customer-170/b.wav"]


def test_a_remainder_is_exit_code_1_and_is_named(emosphere, tables):
    (tables / "export.csv").write_text(f"uri\n{URI}\n")
    answer = emosphere("erase", tables, "--uri", URI, "--verify", "--json")
    assert (answer.code, answer.json["verified"]) == (1, False)
    assert answer.json["remains"] == [str(tables / "export.csv")]
    assert "export.csv" in answer.err
