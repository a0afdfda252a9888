"""Who opens an OUT for writing fences off whoever was there before, and sweeps up what that one left."""

import errno
import json
import os

import pyarrow as pa
import pytest

from emosphere.errors import MachineError, UsageError, Verdict
from emosphere.store import Location, locate
from pipelines.output.fence import Overtaken
from pipelines.output.forgotten import Forgotten, read_forgotten, remember
from pipelines.output.lease import Lease, current
from pipelines.output.ledger import Ledger, parquet_bytes
from pipelines.output.snapshot import commit_snapshot, read_snapshot
from pipelines.output.writer import Writer
from tests.pipelines.headers import begun_ledger, open_ledger, run_header

PART = pa.table({"recording_id": ["a"]})


def left_by_the_dead(out: Location) -> Ledger:
    """A ledger whose lease was never released; its process is known to be gone."""
    lease = Lease(Ledger(out).lease, "run dead")
    lease._me = lease._me._replace(born="long ago")
    ledger = Ledger(out, lease.acquire())
    lease._ended.set()
    lease._heartbeat.join()
    return ledger


def planned(ledger: Ledger, **changes: object) -> None:
    """A run of one part with a complete plan."""
    number = ledger.writing.number
    header = run_header(num_parts=1, num_units=1, planned=[[0, number]], **changes)
    ledger.begin(header)
    ledger.write_plan_part(header.run_id, 0, PART)
    ledger.write_header(header)


def test_a_write_that_a_dead_holder_began_is_refused_by_the_store(s3):
    """Its pointers, at the moment before the PUT; also where nobody had anything else to change there."""
    ledger = left_by_the_dead(locate("s3://tables/begun"))
    planned(ledger)
    commit_snapshot(ledger, "run", {"a": "v1"})
    ledger.write_result("run", {"exit_code": 3})
    remember(ledger, Forgotten(recordings=frozenset(["11"])))
    begun = [ledger.home.child(name) for name in ("state.json", "snapshot.json", "erased.json", "runs/run.json")]
    read = [(one, one.etag(), one.read_bytes()) for one in begun]
    with Writer(ledger.out, "next") as writer:
        assert writer.lease.fence.number == 2
        assert writer.ledger.state().unfinished["key"].header == 1
        for one, etag, data in read:
            assert not one.replace_bytes(data.replace(b"1", b"7"), etag), one.uri
    assert json.loads(ledger.result("run").read_bytes()) == {"exit_code": 3, "holder": 2}
    assert read_forgotten(ledger.home).recordings == {"11"}


@pytest.mark.parametrize(
    ("error", "is_clean"), [(None, True), (Verdict("no", {}), True), (MachineError("store gone"), False)], ids=str
)
def test_after_an_unanswered_write_the_next_is_warned(tmp_path, error, is_clean):
    """It is released all the same, so that nobody waits for a sign of life."""
    out = locate(str(tmp_path))
    with pytest.raises(type(error)) if error else Writer(out, "nothing"), Writer(out, "mine") as writer:
        writer.open()
        if error:
            raise error
    holder = current(Ledger(out).lease).holder
    assert (holder.released, holder.clean) == (True, is_clean)
    change = Ledger(out).state().change
    with Writer(out, "next") as writer:
        writer.open()
        assert (writer.ledger.state().change > change) != is_clean


def test_who_fails_before_it_has_fenced_off_the_last_does_not_vouch_for_it(tmp_path, monkeypatch):
    ledger = left_by_the_dead(locate(str(tmp_path)))
    planned(ledger)

    def refuse(*args: object) -> None:
        raise UsageError("another version's")

    with monkeypatch.context() as patch, pytest.raises(UsageError):
        patch.setattr(Ledger, "change", refuse)
        with Writer(ledger.out, "mine"):
            raise AssertionError("it has opened")
    holder = current(ledger.lease).holder
    assert (holder.released, holder.clean) == (True, False)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("pipelines.output.lease.SILENCE_S", 0.1)
    monkeypatch.setattr("pipelines.output.lease.POLL_S", 0.02)


def freeze(out: Location, work: str) -> None:
    lease = Lease(Ledger(out).lease, work)
    lease.acquire()
    lease._ended.set()


def test_who_stood_still_is_named_until_an_erasure_has_said_so(tmp_path, s3, impatient):
    """Also where another came between, and ended well; on a disk not who is known to be dead."""
    disk = locate(str(tmp_path))
    for out, expected in ((disk, ["frozen"]), (locate("s3://tables/sleepers"), ["dead", "frozen", "stalled"])):
        left_by_the_dead(out)
        with Writer(out, "between") as writer:
            writer.open()
        freeze(out, "run frozen")
        with pytest.raises(MachineError), Writer(out, "run stalled") as writer:
            writer.open()
            raise MachineError("Nothing was scored for 1800 s: a worker hangs")
        with Writer(out, "emosphere erase") as writer:
            sleepers = writer.open().state().sleepers
            assert [words.split()[1] for words in sleepers] == expected


def test_who_stumbles_over_what_another_ended_is_told_that_it_was_overtaken(tmp_path):
    with pytest.raises(Overtaken) as told, Writer(locate(str(tmp_path)), "mine") as writer:
        writer.open()
        writer.lease._ended.set()
        open_ledger_beside(writer.out)
        raise FileNotFoundError("runs/run/plan/part-000000.1.parquet")
    assert isinstance(told.value.__cause__, FileNotFoundError)


def open_ledger_beside(out: Location) -> Ledger:
    """Of somebody who was sure that the holder is dead."""
    other = Lease(Ledger(out).lease, "other")
    other._is_dead = lambda *holder: True
    return Ledger(out, other.acquire())


def test_what_nobody_reads_is_swept_away(tmp_path):
    ledger = open_ledger(locate(str(tmp_path)))
    planned(ledger)
    ledger.write_staged_part("run", 0, PART)
    commit_snapshot(ledger, "one", {"recordings/x.parquet": "_emosphere/tables/recordings/x.one.1.parquet"})
    commit_snapshot(ledger, "two", {"recordings/x.parquet": "_emosphere/tables/recordings/x.two.1.parquet"})
    kept = [
        "runs/run/plan/part-000000.1.parquet",
        "runs/run/staging/part-000000.1.parquet",
        "runs/run/run.1.json",
        "runs/other.json",  # a result
        "tables/recordings/x.one.1.parquet",  # somebody may be reading it
        "tables/recordings/x.two.1.parquet",
    ]
    swept = [
        "runs/run/plan/part-000000.0.parquet",
        "runs/run/plan/part-000001.1.parquet",
        "runs/run/run.0.json",
        "runs/run/alive/part-000000.1",
        "runs/other/staging/part-000000.1.parquet",
        "tables/recordings/x.late.1.parquet",
        "erasing/0.json",
    ]
    for name in {*kept, *swept}:
        ledger.home.child(name).create_bytes(parquet_bytes(PART))
    with Writer(ledger.out, "next") as writer:
        writer.open()
    assert [name for name in kept if not ledger.home.child(name).exists()] == []
    assert [name for name in swept if ledger.home.child(name).exists()] == []


def test_of_a_part_that_was_staged_twice_the_later_counts(tmp_path):
    first = begun_ledger(locate(str(tmp_path)), run_header())
    first.write_staged_part("run", 0, PART)
    first.write_staged_part("run", 1, PART)
    later = open_ledger(first.out)
    later.write_staged_part("run", 0, PART)
    names = {part: file.path.rpartition("/")[2] for part, file in later.staged_parts("run").items()}
    assert names == {0: "part-000000.2.parquet", 1: "part-000001.1.parquet"}


def test_what_is_staged_behind_the_back_of_an_erasure_does_not_count(tmp_path):
    """It may hold what was erased; the parts that the erasure looked through count on, also after the next one."""
    run = begun_ledger(locate(str(tmp_path)), run_header())
    run.write_staged_part("run", 0, PART)
    for _ in range(2):
        erasure = open_ledger(run.out)
        erasure.note_seen("run", erasure.staged_parts("run").values())
        number = erasure.writing.number
        erasure.change(lambda state, number=number: type(state)(unfinished=state.unfinished, erased=number))
        late = run.home.child("runs/run/staging", f"part-00000{number}.1.parquet")
        late.create_bytes(parquet_bytes(PART))
    assert list(erasure.staged_parts("run")) == [0]
    erasure.write_staged_part("run", 1, PART)
    assert list(erasure.staged_parts("run")) == [0, 1]


@pytest.mark.parametrize("left", ["unfinished/key.json", "publishing.json", "erasing.json"])
def test_what_an_earlier_version_left_unfinished_is_left_to_it(tmp_path, left):
    ledger = Ledger(locate(str(tmp_path)))
    ledger.home.child(left).write_bytes(b"{}")
    with pytest.raises(UsageError, match=rf"earlier version .* unfinished here \({left.partition('/')[0]}\)"):
        ledger.state()


def test_a_state_of_a_later_version_is_refused(tmp_path):
    ledger = begun_ledger(locate(str(tmp_path)), run_header())
    file = ledger.home.child("state.json")
    file.write_bytes(json.dumps(json.loads(file.read_bytes()) | {"colour": "red"}).encode())
    with pytest.raises(UsageError, match=r"state\.json: another version .*colour"):
        ledger.state()


def test_who_is_overtaken_changes_no_state(tmp_path):
    ledger = begun_ledger(locate(str(tmp_path)), run_header())
    open_ledger(ledger.out)
    with pytest.raises(Overtaken):
        ledger.mark_publishing("run", {"a"})
    assert ledger.state().publishing is None
    assert read_snapshot(ledger.out) is None


def test_on_a_disk_without_hard_links_half_a_staged_part_does_not_count(tmp_path, monkeypatch):
    """Killed before it has its name; the same command must come to an end."""

    def no_links(*names: str) -> None:
        raise OSError(errno.EPERM, "no links here")

    def killed(*names: str) -> None:
        raise KeyboardInterrupt

    ledger = begun_ledger(locate(str(tmp_path)), run_header())
    monkeypatch.setattr(os, "link", no_links)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        ledger.write_staged_part("run", 0, PART)
    assert ledger.staged_parts("run") == {}
    ledger.write_staged_part("run", 0, PART)
    before = ledger.staged_parts("run")[0].read_bytes()
    ledger.write_staged_part("run", 0, pa.table({"recording_id": ["b"]}))
    assert ledger.staged_parts("run")[0].read_bytes() == before, "created once"
