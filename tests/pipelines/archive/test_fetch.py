"""One recording's bytes: the version that was listed, at a bounded price, and what becomes of every failure."""

import io
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.errors import BadRecording
from pipelines.archive.fetch import Fetcher, FetchLimits
from tests.pipelines.archive.building import listed, member, touch


def test_a_tar_written_anew_since_it_was_listed_never_gives_another_members_sound(tmp_path):
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


def change(path: Path) -> None:
    """Another version under the same name, a second later."""
    if path.suffix == ".wav":
        touch(path, path.read_bytes() + b"more")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.wav", b"other data")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"audio": [b"other", b"data"]}), path)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            member(archive, "a.wav", b"tada", mtime=2_000_000_000)


@pytest.mark.parametrize("name", ["a.wav", "a.zip", "a.tar", "a.tar.gz", "a.parquet"])
def test_what_changed_since_it_was_listed_is_never_scored_under_the_old_version(tmp_path, name):
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
    fetcher = Fetcher(FetchLimits(first_pause_s=60.0), {})  # asked once: waiting does not bring the old one back
    with pytest.raises(BadRecording, match="It changed after it was listed") as changed:
        fetcher.local_path(before)
    assert changed.value.code == "FETCH_FAILED"
    after = listed(tmp_path)[0]
    assert after.content_version != before.content_version
    fetcher.local_path(after)
    fetcher.close()


def test_a_file_that_grows_while_it_is_decoded_is_noticed_afterwards(tmp_path):
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
