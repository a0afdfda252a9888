"""What is still to be scored: each recording once, without the finished ones, whatever their number."""

import os
import tempfile

import numpy as np
import pyarrow as pa
import pytest

from emosphere.tables.identity import recording_id
from pipelines.archive.dates import Window
from pipelines.archive.recording import Recording
from pipelines.score.plan import choose
from pipelines.score.plan.choose import BATCH, FINISHED_COLUMNS, Choice


def recording(name: str, version: str = "v1", **fields) -> Recording:
    fields = {"kind": "object", **fields}
    return Recording(source_uri=f"s3://b/{name}", url=b"", content_version=version, **fields)


def published(*rows: dict, dt: str = "2026-11-20") -> tuple[str, pa.RecordBatchReader]:
    """A file of the table ``recordings``."""
    given = {"content_version": "v1", "settings_digest": "s", "status": "scored", "error_code": None, "attempts": 1}
    whole = [given | row | {"recording_id": recording_id(f"s3://b/{row['name']}")} for row in rows]
    schema = pa.schema(
        [(name, pa.int32() if name == "attempts" else pa.string()) for name in FINISHED_COLUMNS],
    )
    return dt, pa.Table.from_pylist(whole, schema=schema).to_reader()


def chosen(recordings, *files, limit: int | None = None) -> tuple[list[str], Choice]:
    with Choice() as choice:
        choice.take(recordings, window=Window(), limit=limit)
        choice.leave_out_finished(files, "s")
        names = [one.source_uri.removeprefix("s3://b/") for one in choice.recordings()]
    return names, choice


@pytest.mark.parametrize(
    ("before", "stands"),
    [
        ({"status": "scored"}, True),
        ({"status": "no_speech"}, True),
        ({"status": "failed", "error_code": "CORRUPT"}, True),
        ({"status": "failed", "error_code": "NOT_FOUND"}, False),
        ({"status": "failed", "error_code": "INTERNAL"}, False),
        ({"content_version": "v2"}, False),
        ({"settings_digest": "t"}, False),
        ({"error_code": "TRUNCATED"}, True),
    ],
)
def test_finished_is_the_same_content_by_the_same_settings(before, stands):
    """And no failure that may pass."""
    names, choice = chosen([recording("a")], published({"name": "a", **before}))
    assert (names, choice.skipped, choice.selected) == (([], 1, 1) if stands else (["a"], 0, 1))


def test_attempts_count_those_at_the_same_content(tmp_path):
    failed = {"status": "failed", "error_code": "TIMED_OUT", "attempts": 3}
    before = published({"name": "same", **failed}, {"name": "changed", "content_version": "v0", **failed})
    with Choice() as choice:
        choice.take([recording("same"), recording("changed"), recording("new")], window=Window())
        choice.leave_out_finished([before], "s")
        rows = [row for table in choice.batches() for row in table.to_pylist()]
    assert {row["source_uri"][-4:]: row["attempts"] for row in rows} == {"same": 4, "nged": 1, "/new": 1}


def test_what_listing_cannot_reach_keeps_its_scores():
    gone = recording("a", version="", error_code="NOT_FOUND")
    assert chosen([gone], published({"name": "a"}))[0] == []
    assert chosen([gone], published({"name": "a", "status": "failed", "error_code": "NOT_FOUND"}))[0] == ["a"]
    assert chosen([gone])[0] == ["a"]


def test_overlapping_lists_count_once_and_the_first_mention_wins():
    listed = [recording("a", attributes="first"), recording("b"), recording("a", attributes="second")]
    with Choice() as choice:
        choice.take(listed, window=Window())
        choice.leave_out_finished([], "s")
        assert sorted((one.source_uri, one.attributes) for one in choice.recordings()) == [
            ("s3://b/a", "first"),
            ("s3://b/b", None),
        ]
        assert (choice.listed, choice.selected, choice.chosen) == (3, 2, 2)


def test_a_limit_counts_finished_ones_and_looks_no_further():
    def endless():
        number = 0
        while True:
            yield recording(str(number // 2))
            number += 1

    names, choice = chosen(endless(), published({"name": "1"}), limit=4)
    assert sorted(names) == ["0", "2", "3"]
    assert (choice.selected, choice.skipped) == (4, 1)


@pytest.mark.parametrize("dt", ["2026-11-19", "2026-11-20"])
def test_an_id_that_stands_in_two_files_is_still_one_recording(dt):
    for first in ("s", "older"):
        files = [published({"name": "a", "settings_digest": digest}, dt=at) for digest, at in
                 ((first, dt), ("old", "2026-11-20"))]  # fmt: skip
        names, choice = chosen([recording("a")], *files)
        assert (names, choice.chosen) == (["a"], 1)


def test_undecodable_names_and_all_fields_come_out_as_they_went_in():
    given = Recording(
        source_uri="tar://caf%E9.wav::file:///x.tar", kind="tar", url=b"file:///caf\xe9.tar", member="caf%E9.wav",
        offset=512, num_bytes=1 << 40, modified_us=-5, content_version="v", attributes='{"call": "007"}',
        error_code="REFUSED", error_message="No.",
    )  # fmt: skip
    with Choice() as choice:
        choice.take([given], window=Window())
        choice.leave_out_finished([], "s")
        assert list(choice.recordings()) == [given]


def test_more_than_a_batch_comes_out_whole_and_the_scratch_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Choice() as choice:
        choice.take((recording(str(number)) for number in range(2 * BATCH + 1)), window=Window())
        choice.leave_out_finished([published(*({"name": str(number)} for number in range(0, 2 * BATCH, 2)))], "s")
        assert sum(len(table) for table in choice.batches()) == choice.chosen == BATCH + 1
        assert os.listdir(tmp_path)
    assert not os.listdir(tmp_path)


def test_what_was_erased_is_not_chosen_and_stays_in_the_count():
    gone = recording_id("s3://b/b")
    with Choice() as choice:
        listed = [recording("a"), recording("b"), recording("b"), recording("c")]
        choice.take(listed, window=Window(), forgets=lambda recording, identity: identity == gone)
        choice.leave_out_finished([published({"name": "c"})], "s")
        assert (choice.selected, choice.skipped, choice.forgotten, choice.chosen) == (3, 1, 1, 1)
        assert [one.source_uri for one in choice.recordings()] == ["s3://b/a"]


def test_by_size_but_for_what_is_read_in_order():
    """What can only be read in the order of its container stays in it."""

    def member(name: str, kind: str, num_bytes: int | None, offset: int | None = None) -> Recording:
        return recording(name, num_bytes=num_bytes, kind=kind, member=name, offset=offset)

    listed = [
        member("gz1", "tar", 10),
        member("zip1", "zip", 10),
        member("gz2", "tar", 30),
        member("tar1", "tar", 30, offset=512),
        member("gz3", "tar", 20),
        member("cell1", "cell", None, offset=0),
        member("zip2", "zip", 30),
    ]
    with Choice() as choice:
        choice.take(listed, window=Window())
        choice.leave_out_finished([], "s")
        rows = [row for table in choice.batches(by_size=True) for row in table.to_pylist()]
    assert [row["member"] for row in rows] == ["gz1", "gz2", "gz3", "cell1", "tar1", "zip2", "zip1"]


def test_more_than_the_database_may_hold_is_still_put_in_order(monkeypatch):
    """Whole rows of so many cannot be sorted in this memory; three million could not in the real one."""
    monkeypatch.setattr(choose, "DATABASE_MEMORY", "64MB")
    count = 600_000
    given = {
        "ordinal": "i", "recording_id": "md5(i::VARCHAR)", "rank": "1", "seconds": "(i % 1000)::DOUBLE",
        "is_forgotten": "false", "kind": "'object'", "source_uri": "'s3://archive/' || repeat('deep/', 40) || i",
        "url": "repeat('x', 100)::BLOB", "content_version": "md5((7 * i)::VARCHAR)", "num_bytes": "i",
    }  # fmt: skip
    with Choice() as choice:
        choice.take([], window=Window())
        columns = [row[1] for row in choice._base.execute("PRAGMA table_info('listed')").fetchall()]
        values = ", ".join(given.get(name, "NULL") for name in columns)
        choice._base.execute(f"INSERT INTO listed SELECT {values} FROM range({count}) t(i)")
        choice.leave_out_finished([], "s")
        sizes = np.concatenate([batch.column("num_bytes").to_numpy() for batch in choice.batches()])
    numbers = np.arange(count)
    np.testing.assert_array_equal(sizes, numbers[np.lexsort((numbers, -(numbers % 1000)))])
