"""One writer at a time: a live one is left alone, a dead one replaced, one that slept too long writes nothing more."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from emosphere.store import locate
from pipelines.output import fence as fences
from pipelines.output import lease as leases
from pipelines.output.fence import Held, Overtaken
from pipelines.output.lease import Holder, Lease, current, describe
from pipelines.output.writer import Writer


@pytest.fixture
def home(tmp_path):
    return locate(str(tmp_path / "out/_emosphere/lease"))


@pytest.fixture
def quick(monkeypatch):
    """The same rules, fifty times as fast."""
    for name, value in (("BEAT_S", 0.05), ("SILENCE_S", 0.5), ("POLL_S", 0.02)):
        monkeypatch.setattr(leases, name, value)
    monkeypatch.setattr(fences, "SILENCE_S", 0.5)


@contextlib.contextmanager
def holding(home):
    """The lease, taken and given back."""
    lease = Lease(home, "run mine")
    lease.acquire()
    yield lease
    lease.release()


def elsewhere(home, **changes) -> Lease:
    """A lease of another machine, whose process numbers say nothing here."""
    other = Lease(home, "run other")
    other._me = other._me._replace(machine="another", host="another", **changes)
    return other


def fall_silent(lease: Lease) -> None:
    """What kill -9 or a long pause does to a holder."""
    lease._ended.set()
    lease._heartbeat.join()


def test_a_live_holder_keeps_it_and_the_other_is_told_who_it_is(home, quick):
    holder, mine = elsewhere(home), Lease(home, "run mine")
    holder.acquire()
    with pytest.raises(Held, match=r"written by run other \(host another, process \d+, since 20.*is alive"):
        mine.acquire()
    assert mine.fence is None
    assert describe(home).startswith("held by run other")
    assert describe(home).endswith("which is alive")
    holder.release()
    assert describe(home) == "free"
    assert mine.acquire().number == 2
    mine.release()


def test_a_holder_on_another_machine_that_fell_silent_is_taken_over(home, quick):
    """And the number grows."""
    dead = elsewhere(home)
    dead.acquire()
    fall_silent(dead)
    assert "silent" in describe(home)
    with holding(home) as mine:
        assert mine.fence.number == dead.fence.number + 1
        mine.fence.check()


def test_the_real_times_let_a_dead_holder_be_taken_over_within_half_a_minute():
    assert leases.SILENCE_S + 2 * leases.POLL_S < 30
    assert leases.SILENCE_S > 3 * leases.BEAT_S, "a late heartbeat or two must not cost a live holder its turn"


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_clocks_that_disagree_do_not_matter(home, quick, since):
    holder = elsewhere(home, since=since)
    holder.acquire()
    with pytest.raises(Held):
        Lease(home, "run mine").acquire()
    fall_silent(holder)
    with holding(home) as mine:
        assert mine.fence.number == 2


def test_a_holder_that_wakes_up_after_a_takeover_is_stopped(home, quick):
    """And takes nothing back."""
    sleeper = elsewhere(home)
    sleeper.acquire()
    sleeper.fence.check()
    fall_silent(sleeper)
    with holding(home) as mine:
        with pytest.raises(Overtaken, match=r"taken over by run mine \(.*\)\. Nothing more was written"):
            sleeper.fence.check()
        sleeper._ended.clear()
        sleeper._heartbeat = threading.Thread(target=sleeper._beat, daemon=True)
        sleeper._heartbeat.start()  # its heart beats again, on a record that no longer counts
        time.sleep(0.2)
        mine.fence.check()
        sleeper.release()
        mine.fence.check()
        assert not current(home)[1].released


def test_a_dead_process_of_this_machine_is_taken_over_at_once(home, root):
    """With the real times: no waiting for silence where the process table already knows."""
    command = [sys.executable, "-m", "tests.pipelines.output.lease_holder", home.path]
    child = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    os.kill(child.pid, signal.SIGKILL)
    while current(home)[1].born == leases._born(child.pid):  # until it is gone, or at least a zombie
        time.sleep(0.01)
    assert "whose process is gone" in describe(home)
    began = time.monotonic()
    with holding(home) as mine:
        assert mine.fence.number == 2
    assert time.monotonic() - began < leases.POLL_S
    child.wait()
    child.stdout.close()


def test_a_new_process_with_an_old_number_is_not_the_holder(home):
    mine = Lease(home, "run")._me
    assert not mine.is_dead_here
    assert mine._replace(born="1").is_dead_here
    assert not mine._replace(born="1", machine="another").is_dead_here
    assert not mine._replace(born="1", machine="").is_dead_here


def test_of_many_that_come_at_once_one_holds_it(home, quick):
    holders, refused, barrier = [], [], threading.Barrier(8)

    def come(number: int) -> None:
        lease = elsewhere(home)
        barrier.wait()
        try:
            lease.acquire()
            holders.append(lease)
        except Held:
            refused.append(number)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(holders), len(refused)) == (1, 7)
    holders[0].release()


@pytest.mark.parametrize("record", [b"", b'{"token": "x", "wo', b'{"of": "another version"}', b"[]"], ids=str)
def test_a_record_that_cannot_be_read_is_taken_over_like_a_dead_holder(home, quick, record):
    home.child("00000003.json").create_bytes(record)
    assert "cannot be read" in describe(home)
    with holding(home) as mine:
        assert mine.fence.number == 4
        mine.fence.check()


def test_a_record_that_cannot_be_read_but_changes_is_of_somebody_alive(home, quick):
    location, ended = home.child("00000003.json"), threading.Event()

    def live() -> None:
        beat = 0
        while not ended.wait(0.02):
            beat += 1
            location.write_bytes(json.dumps({"of": "a later version", "beat": beat}).encode())

    heart = threading.Thread(target=live)
    location.create_bytes(b"{}")
    heart.start()
    with pytest.raises(Held, match="cannot be read"):
        Lease(home, "run mine").acquire()
    ended.set()
    heart.join()


def test_looking_at_an_out_that_nobody_touched_leaves_it_untouched(home, tmp_path):
    assert describe(home) == "free"
    with Writer(locate(str(tmp_path / "out")), "run") as writer:
        assert writer.lease.fence is None
    assert list(tmp_path.iterdir()) == []


def test_a_record_whose_creation_was_answered_late_is_still_ours(home, monkeypatch):
    """A store may repeat a conditional PUT that had worked, and then say that somebody was first."""
    real = type(home).create_bytes
    monkeypatch.setattr(type(home), "create_bytes", lambda self, data: real(self, data) and False)
    with holding(home) as lease:
        assert lease.fence.number == 1


def test_the_record_says_who_and_since_when(home):
    with holding(home):
        [record] = [name for name in os.listdir(home.path) if name != "lock"]
        holder = Holder(**json.loads(home.child(record).read_bytes()))
    assert (holder.work, holder.pid, holder.beat, holder.released) == ("run mine", os.getpid(), 0, False)


def test_on_s3_of_two_that_come_at_once_one_holds_it(s3, quick):
    home = locate("s3://tables/leased/_emosphere/lease")
    mine, other = Lease(home, "run mine"), elsewhere(home)
    mine.acquire()
    with pytest.raises(Held):
        other.acquire()
    fall_silent(mine)
    mine._me = mine._me._replace(machine="")
    other.acquire()
    assert other.fence.number == 2
    with pytest.raises(Overtaken, match="as holder 1 is read by nobody"):
        mine.fence.check()
    other.release()


def test_on_a_disk_nobody_takes_over_in_the_middle_of_a_write(home, quick):
    """Who stands still between the question and the write is waited for, and named: then nothing can come later."""
    sleeper = elsewhere(home)
    sleeper.acquire()
    fall_silent(sleeper)
    with sleeper.fence.held(), pytest.raises(Held, match=r"stands still in the middle of writing to .*/out and holds"):
        Lease(home, "run mine").acquire()
    with holding(home), pytest.raises(Overtaken), sleeper.fence.held():
        raise AssertionError("written after all")


def test_the_lock_of_a_disk_does_not_pass_to_a_child_process(home):
    """A decoder that is begun while the lock is held has a copy of its descriptor."""
    lease = Lease(home, "run")
    lease.acquire()
    with lease.fence.held():
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
    lock = os.open(f"{home.path}/lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    lease.release()
