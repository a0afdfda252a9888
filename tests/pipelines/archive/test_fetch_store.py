"""What a store answers: asked again where it may pass, and what becomes of every failure."""

import errno
import http.server
import os
import threading
import zipfile
from pathlib import Path

import pytest
import s3fs

from emosphere.errors import BadRecording, MachineError
from pipelines.archive.fetch import BROKEN_MACHINE, Fetcher, FetchLimits
from pipelines.archive.recording import Recording
from tests.pipelines.archive.building import change, listed, touch


class Store:
    """As much of S3 as a fetch asks for: ``says(path)`` gives the status and the code of an error, or None."""

    def __init__(self, says, content: bytes = b"the sound") -> None:
        self.requests: list[str] = []
        outer = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(f"{self.command} {self.path}")
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
        return (503, "SlowDown") if sum(line.startswith("GET") for line in store.requests) <= refusals else None

    recording = web(store(lambda store, path: None if store.requests[-1].startswith("HEAD") else busy(store, path)))
    limits = FetchLimits(attempts=attempts, first_pause_s=0.01)
    if comes:
        assert fetched(recording, limits) == b"the sound"
    else:
        with pytest.raises(BadRecording) as refused:
            fetched(recording, limits)
        assert refused.value.code == "FETCH_FAILED"


def test_what_will_not_pass_is_asked_for_once(store):
    refuses = store(lambda store, path: (403, "AccessDenied") if store.requests[-1].startswith("GET") else None)
    with pytest.raises(BadRecording) as refused:
        fetched(web(refuses))
    assert refused.value.code == "ACCESS_DENIED"
    assert sum(line.startswith("GET") for line in refuses.requests) == 1


def test_an_object_that_is_refused_is_a_row(store):
    """A bucket that is refused is a broken machine."""
    store(lambda store, path: None if "list-type" in path else (403, "AccessDenied"))
    with pytest.raises(BadRecording) as refused:
        fetched(ON_S3)
    assert refused.value.code == "ACCESS_DENIED"
    store(lambda store, path: (403, "AccessDenied"))
    with pytest.raises(MachineError, match="refuses the whole bucket"):
        fetched(ON_S3)


def test_an_object_that_is_gone_is_a_row(s3):
    """A bucket that is gone is a broken machine."""
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


def test_what_vanished_or_broke_since_is_a_row(tmp_path):
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

    def bytes_of(archive: object) -> dict[tuple, bytes]:
        return {
            (one.kind, one.member, one.offset): Path(fetcher.local_path(one)).read_bytes() for one in listed(archive)
        }

    here, there = bytes_of(folder), bytes_of("s3://audio/kinds")
    assert here == there
    assert sorted(map(len, there.values())) == [4, 4, 4, 4, 5, 10]
    fetcher.close()
