"""What another version wrote, with other columns, is erased all the same, and keeps its columns."""

import pyarrow.parquet as pq
import pytest

from pipelines.erase.command import erase
from pipelines.erase.target import Target
from tests.pipelines.erase.erased import all_text, names, uri
from tests.pipelines.other_version import rewrite, with_column, without

HOLDER = {b"holder": b"whoever wrote it last"}


@pytest.mark.parametrize(
    ("pattern", "lost"),
    [
        ("segments/**/*.parquet", "speaker"),
        ("recordings/**/*.parquet", "attempts"),
        ("runs/*.parquet", "host"),
        ("_emosphere/runs/*/plan/*.parquet", "attempts"),
        ("_emosphere/runs/*/staging/*.parquet", "unit_index"),
        ("_emosphere/runs/*/plan/*.parquet", "source_uri"),
    ],
)
def test_columns_stay_as_they_are(made, home, pattern, lost):
    out, gone = home / "out", uri(made, "customer-17")
    paths = list(out.glob(pattern))
    for path in paths:
        rewrite(path, without(lost))
        rewrite(path, with_column("colour"))
    before = {path: pq.read_schema(path) for path in paths}
    assert before
    assert erase(str(out), Target(uri=gone), verify=True)["verified"]
    assert names(out) == {"customer-170/c.flac", "d.flac"}
    assert gone + "/" not in all_text(out)
    assert {path: pq.read_schema(path) for path in paths} == before
    for path in paths:
        assert (pq.read_schema(path).metadata or {}) | HOLDER == (before[path].metadata or {}) | HOLDER


def test_a_file_without_recordings_among_the_tables_is_left_alone(made, home):
    path = next((home / "out/segments").rglob("*.parquet")).with_name("mine.parquet")
    path.write_bytes(next((home / "out/segments").rglob("part-*.parquet")).read_bytes())
    rewrite(path, lambda table: table.select(["region"]))
    before = path.read_bytes()
    assert erase(str(home / "out"), Target(uri=uri(made, "customer-17")), verify=True)["verified"]
    assert path.read_bytes() == before
