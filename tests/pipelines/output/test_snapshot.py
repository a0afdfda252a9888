"""What readers see is replaced whole, by whoever may write, and never undoes what another wrote meanwhile."""

import io
import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emosphere.store.s3 as s3_store
from emosphere.store import Location, locate
from pipelines.output.fence import Overtaken
from pipelines.output.forgotten import Forgotten, read_forgotten, remember
from pipelines.output.ledger import Ledger, json_bytes, parquet_bytes, read_parquet
from pipelines.output.snapshot import commit_snapshot, read_snapshot, replace_published
from tests.pipelines.headers import open_ledger

PATH = "recordings/dt=2026-11-20/model=m-0/part-00.parquet"


def rows(*ids: str) -> pa.Table:
    return pa.table({"recording_id": list(ids)})


def table(*ids: str) -> bytes:
    return parquet_bytes(rows(*ids))


def ids(location: Location) -> list[str]:
    return read_parquet(location).column("recording_id").to_pylist()


def before_the_next_write(patch: pytest.MonkeyPatch, path: str, data: bytes) -> None:
    """Another writes a file in the moment between the last question and the write: once."""
    real, left = Location.replace_bytes, [data]

    def replace_bytes(self, mine: bytes, etag: str | None) -> bool:
        if left and self.path.endswith(path):
            self.write_bytes(left.pop())
        return real(self, mine, etag)

    patch.setattr(Location, "replace_bytes", replace_bytes)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("out", ["disk", "s3"])
def test_who_is_overtaken_leaves_the_published_file(tmp_path, s3, monkeypatch, out, at_once):
    """Overtaken before the last question, or, in a store, right behind it: then the file has been read and renewed."""
    ledger = open_ledger(locate(str(tmp_path) if out == "disk" else f"s3://tables/overtaken-{at_once}"))
    replace_published(ledger, PATH, "before", lambda file: rows("a", "b"))
    public, sleeper = ledger.out.child(PATH), open_ledger(ledger.out)

    def overtake() -> None:
        replace_published(open_ledger(ledger.out), PATH, "later", lambda file: rows("a", "b"))

    def sleep_over_it(file: Location) -> pa.Table:
        if at_once or file.is_local:
            overtake()
        else:
            real = Location.replace_bytes

            def replace_bytes(self: Location, data: bytes, etag: str | None) -> bool:
                monkeypatch.setattr(Location, "replace_bytes", real)
                overtake()
                return real(self, data, etag)

            monkeypatch.setattr(Location, "replace_bytes", replace_bytes)
        return rows("a")

    with pytest.raises(Overtaken):
        replace_published(sleeper, PATH, "mine", sleep_over_it)
    assert ids(public) == ["a", "b"]
    assert not [path for path in ledger.home.files() if ".mine." in path]


def test_a_file_changed_in_the_last_moment_is_made_anew(s3, monkeypatch):
    """From what another wrote."""
    ledger = open_ledger(locate("s3://tables/last-moment"))
    public = ledger.out.child(PATH)
    public.write_bytes(table("a", "b"))
    before_the_next_write(monkeypatch, PATH, table("a", "b", "c"))

    def without_a(file: Location) -> pa.Table:
        return rows(*(one for one in ids(file) if one != "a"))

    version = replace_published(ledger, PATH, "mine", without_a)
    assert ids(public) == ids(ledger.out.child(version)) == ["b", "c"]


def test_a_mixture_of_two_versions_cannot_be_read(tmp_path):
    """DuckDB opens a file twice within one query, and it may have been replaced in between."""
    ledger = open_ledger(locate(str(tmp_path)))
    public, labels = ledger.out.child(PATH), itertools.count()

    def replace_by(*ids: str) -> bytes:
        replace_published(ledger, PATH, f"mine-{next(labels)}", lambda file: rows(*ids))
        return public.read_bytes()

    versions = [replace_by(*"aabb"), replace_by(*"aaaabbbb"), replace_by(*"abcabc"), replace_by(), replace_by(*"ab")]
    for old, new in itertools.pairwise(versions):
        length = int.from_bytes(old[-8:-4], "little") + 8
        mixed = new.ljust(len(old), b"\0")[: len(old) - length] + old[-length:]
        if pq.read_metadata(io.BytesIO(old)).num_rows:
            with pytest.raises((OSError, pa.ArrowInvalid)):
                pq.read_table(io.BytesIO(mixed))
    assert [pq.read_table(io.BytesIO(one)).num_rows for one in versions] == [4, 8, 6, 0, 2]


def test_no_two_holders_write_the_same_bytes(tmp_path):
    """Nor do the first and the third, whose codec is the same: an ETag says which of them wrote a file."""
    out = locate(str(tmp_path))

    def replace_by_next_holder() -> bytes:
        replace_published(open_ledger(out), PATH, "mine", lambda file: rows("a"))
        return out.child(PATH).read_bytes()

    assert len({replace_by_next_holder() for _ in range(4)}) == 4


def test_nothing_is_written_where_nothing_is_to_be_changed(tmp_path):
    ledger = open_ledger(locate(str(tmp_path)))
    before = sorted(tmp_path.rglob("*"))
    assert replace_published(ledger, PATH, "mine", lambda file: None) is None
    assert sorted(tmp_path.rglob("*")) == before


def test_who_has_no_lease_writes_nothing(tmp_path):
    with pytest.raises(AssertionError, match="not opened with the lease"):
        commit_snapshot(Ledger(locate(str(tmp_path))), "run", {})
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_of_the_last_moment_is_not_undone(s3, monkeypatch):
    """Another run's."""
    ledger = open_ledger(locate("s3://tables/snapshots"))
    ledger.out.child("v0").write_bytes(b"")
    ledger.snapshot.write_bytes(json_bytes({"run_id": "0", "files": {"a": "v1"}, "previous": {"a": "v0"}}))
    other = {"run_id": "other", "files": {"a": "v2", "b": "v2b"}, "previous": {"a": "v1"}}
    before_the_next_write(monkeypatch, "snapshot.json", json_bytes(other))
    commit_snapshot(ledger, "run", {"c": "v3"})
    stored = read_snapshot(ledger.out)
    assert stored["files"] == {"a": "v2", "b": "v2b", "c": "v3"}
    assert stored["previous"] == other["files"]
    assert not ledger.out.child("v0").exists()


def test_the_snapshot_is_not_touched_by_who_was_overtaken(tmp_path):
    ledger = open_ledger(locate(str(tmp_path)))
    open_ledger(ledger.out)
    with pytest.raises(Overtaken):
        commit_snapshot(ledger, "run", {"c": "v3"})
    assert read_snapshot(ledger.out) is None


def test_a_commit_that_is_answered_late_and_made_again_is_one(s3, monkeypatch):
    """A store may repeat a conditional PUT that had worked, and then say that the condition fails."""
    ledger = open_ledger(locate("s3://tables/late"))
    ledger.snapshot.write_bytes(json_bytes({"run_id": "0", "files": {"a": "v1"}, "previous": {"a": "v0"}}))
    ledger.out.child("v0").write_bytes(b"")
    real, late = Location.replace_bytes, [True]
    monkeypatch.setattr(Location, "replace_bytes", lambda *args: real(*args) and not (late and late.pop()))
    commit_snapshot(ledger, "run", {"a": "v2"})
    stored = read_snapshot(ledger.out)
    assert stored == {"run_id": "run", "files": {"a": "v2"}, "previous": {"a": "v1"}, "holder": 1}
    assert not ledger.out.child("v0").exists()


def test_what_is_remembered_in_the_last_moment_stays(s3, monkeypatch):
    """By another erasure."""
    ledger = open_ledger(locate("s3://tables/memory"))
    remember(ledger, Forgotten(recordings=frozenset("a")))
    meanwhile = json.dumps({"recordings": ["a", "b"], "folders": [], "modified_before": None}).encode()
    before_the_next_write(monkeypatch, "erased.json", meanwhile)
    remember(ledger, Forgotten(recordings=frozenset("c")))
    assert read_forgotten(ledger.home).recordings == frozenset("abc")


def test_a_version_that_was_not_written_is_not_taken_for_written(s3, monkeypatch):
    """S3 answers 409 where another conditional request for the key is under way, and that one may come to nothing."""
    put, refused = s3_store._put, []

    def conflicts_once(fs, path, data, **condition):
        if "/_emosphere/tables/" in path and not refused:
            refused.append(path)
            return 409
        return put(fs, path, data, **condition)

    ledger = open_ledger(locate("s3://tables/conflict"))
    monkeypatch.setattr(s3_store, "_put", conflicts_once)
    version = replace_published(ledger, "segments/dt=d/model=m/part-00.parquet", "run", lambda public: rows("a"))
    assert refused
    assert ledger.out.child(version).exists()
