"""One recording's bytes: the version that was listed, at a bounded price, and what becomes of every failure."""

import errno
import http.server
import io
import os
import tarfile
import threading
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from emosphere.errors import BadRecording, MachineError
from pipelines.archive import containers
from pipelines.archive.containers import Zip
from pipelines.archive.fetch import BROKEN_MACHINE, KEPT_OPEN, Fetcher, FetchLimits
from pipelines.archive.members import LONGEST_HEADER
from pipelines.archive.recording import Recording
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


def test_a_member_of_a_tar_on_s3_costs_its_own_bytes(s3, asked, tmp_path, monkeypatch):
    sounds = {f"{number}.wav": os.urandom(300_000 + number) for number in range(10)}
    with tarfile.open(tmp_path / "calls.tar", "w") as archive:
        for name, sound in sounds.items():
            member(archive, name, sound)
    s3.put(str(tmp_path / "calls.tar"), "audio/shards/calls.tar")
    recordings = listed("s3://audio/shards/calls.tar")
    for range_bytes in (8 << 20, 70_000):
        monkeypatch.setattr(containers, "RANGE_BYTES", range_bytes)
        fetcher = Fetcher(FetchLimits(), {})
        asked.clear()
        for one in reversed(recordings):
            assert Path(fetcher.local_path(one)).read_bytes() == sounds[one.member]
        assert asked["bytes"] == sum(tarfile.BLOCKSIZE + len(sound) for sound in sounds.values())
        assert asked["head_object"] == 1
        fetcher.close()


def test_a_shard_replaced_between_two_of_its_members_gives_no_mixture(s3, tmp_path):
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


def test_duplicates_in_several_archive_files_open_each_once_and_only_a_few_stay_open(tmp_path, monkeypatch):
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


# What a store answers


class Store:
    """As much of S3 as a fetch asks for: ``says(path)`` gives the status and the code of an error, or None."""

    def __init__(self, says, content: bytes = b"the sound") -> None:
        self.asked: list[str] = []
        outer = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(f"{self.command} {self.path}")
                status, code = says(outer, self.path) or (200, None)
                body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode() if code else content
                if not code and "list-type" in self.path:
                    body = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", '"one"')
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def store(monkeypatch):
    started = []

    def start(says) -> Store:
        started.append(Store(says))
        monkeypatch.setenv("AWS_ENDPOINT_URL", started[-1].url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        s3fs.S3FileSystem.clear_instance_cache()
        return started[-1]

    yield start
    s3fs.S3FileSystem.clear_instance_cache()
    for one in started:
        one.close()


QUICK = FetchLimits(attempts=4, first_pause_s=0.01)
ON_S3 = Recording(source_uri="s3://audio/in/a.wav", kind="object", url=b"s3://audio/in/a.wav", num_bytes=9)


def web(store: Store) -> Recording:
    url = f"{store.url}/a.wav"
    return Recording(source_uri=url, kind="object", url=url.encode(), num_bytes=9)


def fetched(recording: Recording, limits: FetchLimits = QUICK) -> bytes:
    fetcher = Fetcher(limits, {})
    try:
        return Path(fetcher.local_path(recording)).read_bytes()
    finally:
        fetcher.close()


@pytest.mark.parametrize(("refusals", "attempts", "comes"), [(3, 4, True), (3, 3, False), (1, 1, False)])
def test_a_store_that_is_busy_is_asked_again_a_few_times(store, refusals, attempts, comes):
    def busy(store, path):
        return (503, "SlowDown") if sum(line.startswith("GET") for line in store.asked) <= refusals else None

    recording = web(store(lambda store, path: None if store.asked[-1].startswith("HEAD") else busy(store, path)))
    limits = FetchLimits(attempts=attempts, first_pause_s=0.01)
    if comes:
        assert fetched(recording, limits) == b"the sound"
    else:
        with pytest.raises(BadRecording) as refused:
            fetched(recording, limits)
        assert refused.value.code == "FETCH_FAILED"


def test_what_will_not_pass_is_asked_for_once(store):
    refuses = store(lambda store, path: (403, "AccessDenied") if store.asked[-1].startswith("GET") else None)
    with pytest.raises(BadRecording) as refused:
        fetched(web(refuses))
    assert refused.value.code == "ACCESS_DENIED"
    assert sum(line.startswith("GET") for line in refuses.asked) == 1


def test_one_object_that_is_refused_is_a_row_and_a_bucket_that_is_refused_is_a_broken_machine(store):
    store(lambda store, path: None if "list-type" in path else (403, "AccessDenied"))
    with pytest.raises(BadRecording) as refused:
        fetched(ON_S3)
    assert refused.value.code == "ACCESS_DENIED"
    store(lambda store, path: (403, "AccessDenied"))
    with pytest.raises(MachineError, match="refuses the whole bucket"):
        fetched(ON_S3)


def test_one_object_that_is_gone_is_a_row_and_a_bucket_that_is_gone_is_a_broken_machine(s3):
    s3.mkdir("shortlived")
    s3.pipe_file("shortlived/in/a.wav", b"data")
    s3.pipe_file("shortlived/in/b.wav", b"data")
    a, _ = listed("s3://shortlived/in")
    s3.rm("shortlived/in/a.wav")
    with pytest.raises(BadRecording) as gone:
        fetched(a)
    assert gone.value.code == "NOT_FOUND"
    s3.rm("shortlived", recursive=True)
    with pytest.raises(MachineError, match="is gone"):
        fetched(a)


def test_what_lies_in_an_archive_tier_is_a_row_of_its_own_kind(s3):
    s3.call_s3("put_object", Bucket="audio", Key="cold/a.wav", Body=b"data", StorageClass="GLACIER")
    [recording] = listed("s3://audio/cold")
    with pytest.raises(BadRecording, match="must be restored first") as cold:
        fetched(recording)
    assert cold.value.code == "ARCHIVED"


def test_a_full_scratch_disk_is_a_broken_machine(tmp_path):
    with zipfile.ZipFile(tmp_path / "calls.zip", "w") as archive:
        archive.writestr("a.wav", b"data")
    [recording] = listed(tmp_path)
    fetcher = Fetcher(QUICK, {})
    os.symlink("/dev/full", os.path.join(fetcher._scratch, "recording"))
    with pytest.raises(MachineError, match="No space left on device"):
        fetcher.local_path(recording)
    fetcher.close()


def test_a_scratch_folder_that_was_wiped_is_a_broken_machine(tmp_path):
    with zipfile.ZipFile(tmp_path / "calls.zip", "w") as archive:
        archive.writestr("a.wav", b"data")
        archive.writestr("b.wav", b"data")
    recording, another = listed(tmp_path)
    fetcher = Fetcher(QUICK, {})
    path = fetcher.local_path(recording)
    os.unlink(path)
    with pytest.raises(MachineError, match="wiped"), fetcher.failures_explained(recording):
        Path(path).read_bytes()
    fetcher.close()
    with pytest.raises(MachineError, match="wiped"):
        fetcher.local_path(another)


@pytest.mark.parametrize("number", sorted(BROKEN_MACHINE))
def test_what_no_recording_can_be_blamed_for_is_a_broken_machine(tmp_path, number):
    [recording] = listed(touch(tmp_path / "a.wav"))
    fetcher = Fetcher(QUICK, {})
    with pytest.raises(MachineError, match="then run again"), fetcher.failures_explained(recording):
        raise OSError(number, os.strerror(number), "a.wav")
    fetcher.close()


def test_reading_what_vanished_or_broke_since_is_that_recordings_own(tmp_path):
    [recording] = listed(touch(tmp_path / "a.wav"))
    fetcher = Fetcher(QUICK, {})
    for raised, code in [
        (FileNotFoundError(errno.ENOENT, "gone"), "NOT_FOUND"),
        (TimeoutError(), "TIMED_OUT"),
        (OSError(errno.EINVAL, "odd"), "FETCH_FAILED"),
    ]:
        with pytest.raises(BadRecording) as explained, fetcher.failures_explained(recording):
            raise raised
        assert explained.value.code == code
    with pytest.raises(ZeroDivisionError), fetcher.failures_explained(recording):
        raise ZeroDivisionError  # our own fault, and not the recording's
    with pytest.raises(KeyError), fetcher.failures_explained(recording):
        raise KeyError
    fetcher.close()


def test_every_kind_comes_from_s3_as_it_comes_from_a_disk(s3, tmp_path):
    folder = tmp_path / "kinds"
    touch(folder / "a.wav", b"data")
    for name in ("a.zip", "b.tar", "c.tar.gz", "d.parquet"):
        change(folder / name)
    s3.put(str(folder), "audio/kinds", recursive=True)
    fetcher = Fetcher(QUICK, {})

    def found(archive: object) -> dict[tuple, bytes]:
        return {
            (one.kind, one.member, one.offset): Path(fetcher.local_path(one)).read_bytes() for one in listed(archive)
        }

    here, there = found(folder), found("s3://audio/kinds")
    assert here == there
    assert sorted(map(len, there.values())) == [4, 4, 4, 4, 5, 10]
    fetcher.close()
