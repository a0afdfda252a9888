"""Tables of other columns than this version writes are told in words, by few looks at them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.errors import MachineError, UsageError
from emosphere.store import Location, locate
from emosphere.tables.schema import TABLES, arrow_schema
from pipelines.output.columns import check_columns, check_files, check_published
from pipelines.output.forgotten import read_forgotten
from pipelines.output.ledger import Ledger, parquet_bytes


def partition(out: Location, table: str, dt: str, model: str = "m-0") -> Location:
    return out.child(table, f"dt={dt}", f"model={model}", "part-00.parquet")


def write(file: Location, schema: pa.Schema) -> None:
    file.write_bytes(parquet_bytes(schema.empty_table()))


def lacking(table: str, name: str) -> pa.Schema:
    schema = arrow_schema(table)
    return schema.remove(schema.get_field_index(name))


def test_no_tables_and_empty_ones_pass(tmp_path):
    out = locate(str(tmp_path))
    check_published(out)
    for table in ("segments", "recordings"):
        write(partition(out, table, "2026-11-20"), arrow_schema(table))
    out.child("recordings", "a note.txt").write_bytes(b"mine")
    out.child("recordings", "mine.parquet").write_bytes(parquet_bytes(pa.table({"a": [1]})))
    check_published(out)


def test_order_and_nulls_may_differ():
    schema = arrow_schema("segments")
    other = pa.schema([field.with_nullable(not field.nullable) for field in reversed(list(schema))])
    check_columns(locate("/a.parquet"), other, schema, "")


def test_each_difference_is_named():
    schema = pa.schema([("a", pa.int32()), ("b", pa.list_(pa.struct([("x", pa.int32()), ("y", pa.int32())])))])
    other = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.struct([("x", pa.int32())]))), ("c", pa.string())])
    with pytest.raises(UsageError) as refused:
        check_columns(locate("/a.parquet"), other, schema, "Do this.")
    assert str(refused.value) == (
        "file:///a.parquet: another version of emosphere wrote it: it lacks b.y; it has c, unknown here; its a is "
        "int64, here int32. Do this."
    )


@pytest.mark.parametrize("store", ["disk", "memory", "s3"])
def test_either_end_of_each_table_and_model_tells(tmp_path, s3, store):
    out = locate({"disk": str(tmp_path), "memory": "memory://columns/out", "s3": "s3://tables/columns"}[store])
    for table in ("segments", "recordings"):
        for model in ("m-0", "m-1"):
            for dt in ("2026-11-19", "2026-11-20", "2026-11-21"):
                write(partition(out, table, dt, model), arrow_schema(table))
    for run in ("20261119", "20261121"):
        write(out.child("runs", f"{run}.parquet"), arrow_schema("runs"))
    check_published(out)
    places = [
        *(
            (table, partition(out, table, dt, "m-1"))
            for table in ("segments", "recordings")
            for dt in ("2026-11-19", "2026-11-21")
        ),
        *(("runs", out.child("runs", f"{run}.parquet")) for run in ("20261119", "20261121")),
    ]
    for table, file in places:
        write(file, lacking(table, "run_id"))
        with pytest.raises(UsageError, match=r"lacks run_id\. Score into a new OUT\.") as refused:
            check_published(out)
        assert file.path in str(refused.value)
        write(file, arrow_schema(table))


def test_years_of_nights_cost_two_footers_a_table_and_model(tmp_path, monkeypatch):
    out, read = locate(str(tmp_path)), pq.read_schema
    for night in range(1, 29):
        for table in ("segments", "recordings"):
            write(partition(out, table, f"2026-02-{night:02d}"), arrow_schema(table))
        write(out.child("runs", f"202602{night:02d}.parquet"), arrow_schema("runs"))
    looks = []
    monkeypatch.setattr(pq, "read_schema", lambda file: looks.append(file) or read(file))
    check_published(out)
    assert len(looks) == 2 * len(TABLES)


def test_a_file_between_the_ends_tells_when_it_is_read(tmp_path):
    out = locate(str(tmp_path))
    for dt in ("2026-11-19", "2026-11-20", "2026-11-21"):
        write(partition(out, "recordings", dt), arrow_schema("recordings"))
    write(partition(out, "recordings", "2026-11-20"), lacking("recordings", "attempts"))
    check_published(out)
    with pytest.raises(UsageError, match=r"dt=2026-11-20.* lacks attempts"):
        list(Ledger(out).published_columns("m-0", ["recording_id", "attempts"]))


def test_a_broken_file_is_named(tmp_path):
    file = locate(str(tmp_path)).child("runs", "20261119.parquet")
    file.write_bytes(b"half a file")
    with pytest.raises(MachineError, match=r"runs/20261119\.parquet: no Parquet file that can be read"):
        check_published(locate(str(tmp_path)))


def test_a_file_that_is_gone_meanwhile_is_no_trouble(tmp_path):
    """Without the lease another may end its run between the listing and the look."""
    check_files([locate(str(tmp_path)).child("plan", "part-000000.parquet")], arrow_schema("runs"), "")


@pytest.mark.parametrize(
    "stored",
    ['{"recordings": [], "folders": []}', '{"recordings": [], "folders": [], "modified_before": null, "a": 1}'],
)
def test_a_memory_of_erasures_is_not_read_in_part(tmp_path, stored):
    (tmp_path / "erased.json").write_text(stored)
    with pytest.raises(UsageError, match=r"erased\.json: another version of emosphere wrote it.*Use that version"):
        read_forgotten(locate(str(tmp_path)))
