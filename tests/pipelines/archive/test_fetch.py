"""One recording's bytes: the version that was listed, at a bounded price."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.errors import BadRecording
from pipelines.archive import containers
from pipelines.archive.containers import Zip
from pipelines.archive.fetch import KEPT_OPEN, Fetcher, FetchLimits
from pipelines.archive.members import LONGEST_HEADER
from tests.pipelines.archive.building import change, listed, member, touch

QUICK = FetchLimits(attempts=4, first_pause_s=0.01)


def test_a_tar_written_anew_gives_no_other_members_sound(tmp_path):
    """Written anew after it was listed: another member may lie at that offset."""

    def write(*members: str) -> None:
        with tarfile.open(tmp_path / "calls.tar", "w") as archive:
            for member in members:
                info = tarfile.TarInfo(member)
                info.size = 6
                archive.addfile(info, io.BytesIO(member.encode()[:6]))

    write("first.wav", "second.wav")
    recordings = listed(tmp_path)
    write("zeroth.wav", "first.wav", "second.wav")
    fetcher = Fetcher(FetchLimits(), {})
    for recording in recordings:
        with pytest.raises(BadRecording, match="no longer holds this member") as gone:
            fetcher.local_path(recording)
        assert gone.value.code == "NOT_FOUND"
    fetcher.close()


def test_a_zip_bomb_is_refused_when_it_is_fetched_and_costs_no_disk(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.wav", bytes(80 << 20))
        archive.writestr("good.wav", b"data")
    fetcher = Fetcher(FetchLimits(max_unpack_ratio=100.0), {})
    bomb, good = listed(tmp_path)
    with pytest.raises(BadRecording, match="taken for a zip bomb") as refused:
        fetcher.local_path(bomb)
    assert refused.value.code == "REFUSED"
    assert Path(fetcher.local_path(good)).read_bytes() == b"data"
    fetcher.close()


@pytest.mark.parametrize("name", ["a.wav", "a.zip", "a.tar", "a.tar.gz", "a.parquet"])
def test_what_changed_since_it_was_listed_is_refused(tmp_path, name):
    """Else it would be scored under the old version."""
    path = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.wav", b"data")
    elif "tar" in name:
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as archive:
            member(archive, "a.wav", b"data", mtime=1_000_000_000)
    elif name.endswith("parquet"):
        pq.write_table(pa.table({"audio": [b"data"]}), path)
    else:
        touch(path, b"data")
    [before] = listed(tmp_path)
    fetcher = Fetcher(FetchLimits(first_pause_s=60.0), {})
    assert Path(fetcher.local_path(before)).read_bytes() == b"data"
    fetcher.close()
    change(path)
    fetcher = Fetcher(FetchLimits(first_pause_s=60.0), {})  # one request: waiting does not bring the old one back
    with pytest.raises(BadRecording, match="It changed after it was listed") as changed:
        fetcher.local_path(before)
    assert changed.value.code == "FETCH_FAILED"
    after = listed(tmp_path)[0]
    assert after.content_version != before.content_version
    fetcher.local_path(after)
    fetcher.close()


def test_a_file_that_grows_while_it_is_decoded_is_noticed(tmp_path):
    [recording] = listed(touch(tmp_path / "a.wav"))
    fetcher = Fetcher(FetchLimits(), {})
    fetcher.local_path(recording)
    fetcher.check_unchanged(recording)
    change(tmp_path / "a.wav")
    with pytest.raises(BadRecording, match="changed"):
        fetcher.check_unchanged(recording)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(BadRecording) as gone:
        fetcher.check_unchanged(recording)
    assert gone.value.code == "NOT_FOUND"
    fetcher.close()


def test_the_directory_of_a_zip_is_read_once_for_all_its_members(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "calls.zip", "w") as archive:
        for number in range(20):
            archive.writestr(f"{number}.wav", str(number))
    recordings = listed(tmp_path)
    opened = []
    real = zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda *args: opened.append(args) or real(*args))
    fetcher = Fetcher(FetchLimits(), {})
    assert [Path(fetcher.local_path(one)).read_text() for one in recordings] == [str(n) for n in range(20)]
    assert len(opened) == 1
    fetcher.close()


def test_nothing_in_an_archive_is_ever_written_to(tmp_path):
    """Every kind, every file and folder read-only; contents and times are the same after listing and fetching all."""
    folder = tmp_path / "archive"
    touch(folder / "a.wav", b"data")
    change_into = {"a.zip": folder / "a.zip", "b.tar": folder / "b.tar", "c.tar.gz": folder / "c.tar.gz"}
    for path in change_into.values():
        change(path)
    pq.write_table(pa.table({"audio": [b"one", b"two"]}), folder / "d.parquet")

    def state() -> dict[str, tuple]:
        found = {}
        for path in [folder, *sorted(folder.rglob("*"))]:
            status = path.stat()
            content = path.read_bytes() if path.is_file() else None
            found[str(path)] = (content, status.st_mtime_ns, status.st_ctime_ns, status.st_mode, status.st_ino)
        return found

    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    before = state()
    fetcher = Fetcher(FetchLimits(), {})
    recordings = listed(folder)
    assert len(recordings) == 6
    for one in recordings:
        fetcher.local_path(one)
    fetcher.close()
    assert state() == before
    folder.chmod(0o755)


def test_a_member_of_a_tar_on_s3_costs_its_own_bytes(s3, requests, tmp_path, monkeypatch):
    sounds = {f"{number}.wav": os.urandom(300_000 + number) for number in range(10)}
    with tarfile.open(tmp_path / "calls.tar", "w") as archive:
        for name, sound in sounds.items():
            member(archive, name, sound)
    s3.put(str(tmp_path / "calls.tar"), "audio/shards/calls.tar")
    recordings = listed("s3://audio/shards/calls.tar")
    for range_bytes in (8 << 20, 70_000):
        monkeypatch.setattr(containers, "RANGE_BYTES", range_bytes)
        fetcher = Fetcher(FetchLimits(), {})
        requests.clear()
        for one in reversed(recordings):
            assert Path(fetcher.local_path(one)).read_bytes() == sounds[one.member]
        assert requests["bytes"] == sum(tarfile.BLOCKSIZE + len(sound) for sound in sounds.values())
        assert requests["head_object"] == 1
        fetcher.close()


def test_a_shard_replaced_between_two_members_gives_no_mixture(s3, tmp_path):
    def put(sound: bytes, mtime: int) -> None:
        with tarfile.open(tmp_path / "calls.tar", "w") as archive:
            for name in ("a.wav", "b.wav"):
                member(archive, name, sound, mtime=mtime)
        s3.put(str(tmp_path / "calls.tar"), "audio/replaced/calls.tar")

    put(b"old", 1_000_000_000)
    a, b = listed("s3://audio/replaced/calls.tar")
    fetcher = Fetcher(QUICK, {})
    assert Path(fetcher.local_path(a)).read_bytes() == b"old"
    put(b"new", 2_000_000_000)
    with pytest.raises(BadRecording, match="changed after it was listed"):
        fetcher.local_path(b)
    fetcher.close()


def test_each_archive_file_is_opened_once_and_few_stay_open(tmp_path, monkeypatch):
    """Duplicates, which are fetched one after the other, stand in several."""
    for name in "abcdef":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for number in range(5):
                archive.writestr(f"{number}.wav", f"{name}{number}")
    recordings = sorted(listed(tmp_path), key=lambda one: one.member)
    few = [one for one in recordings if one.url[-5:-4] in b"abcd"]
    opened: list[Zip] = []
    real = Zip.__init__

    def opening(self, location):
        opened.append(self)
        real(self, location)

    monkeypatch.setattr(Zip, "__init__", opening)
    fetcher = Fetcher(FetchLimits(), {})
    for one in few:
        assert Path(fetcher.local_path(one)).read_text() == f"{one.url[-5:-4].decode()}{one.member[0]}"
    assert len(opened) == 4
    for one in recordings[:6]:
        fetcher.local_path(one)
        assert sum(not zipped._file.closed for zipped in opened) <= KEPT_OPEN
    monkeypatch.setattr("pipelines.archive.fetch.KEPT_ENTRIES", 9)  # the directories of two zips are more
    for one in recordings[:6]:
        fetcher.local_path(one)
        assert sum(not zipped._file.closed for zipped in opened) == 1
    fetcher.close()
    assert all(zipped._file.closed for zipped in opened)


def test_a_header_bomb_met_while_fetching_is_refused_too(tmp_path):
    path = tmp_path / "calls.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member(archive, "a.wav")
    [recording] = listed(path)
    with tarfile.open(path, "w:gz") as archive:
        member(archive, "@LongLink", bytes(LONGEST_HEADER + 1), type=tarfile.GNUTYPE_LONGNAME)
        member(archive, "a.wav")
    fetcher = Fetcher(QUICK, {})
    with pytest.raises(BadRecording, match="taken for a bomb") as refused:
        fetcher.local_path(recording)
    assert refused.value.code == "REFUSED"
    fetcher.close()
