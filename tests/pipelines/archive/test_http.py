"""Recordings behind a web server: listed, fetched, named without their secrets."""

import functools
import http.server
import threading
from pathlib import Path

import pytest

from emosphere.errors import BadRecording, UsageError
from emosphere.store import locate
from pipelines.archive.fetch import Fetcher, FetchLimits
from pipelines.archive.listing import list_archives
from pipelines.archive.recording import Recording


@pytest.fixture
def web(tmp_path):
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls/a.wav").write_bytes(b"the sound")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    server.server_close()


def test_a_signed_url_is_fetched_whole_and_named_without_its_signature(web):
    url, folder = web
    [recording] = list_archives([f"{url}/calls/a.wav?signature=secret"], out=locate("/nowhere"))
    assert recording.source_uri == f"{url}/calls/a.wav"
    assert recording.num_bytes == 9
    fetcher = Fetcher(FetchLimits(first_pause_s=0.01), {})
    assert Path(fetcher.local_path(recording)).read_bytes() == b"the sound"
    (folder / "calls/a.wav").unlink()
    again = Fetcher(FetchLimits(first_pause_s=0.01), {})
    with pytest.raises(BadRecording) as gone:
        again.local_path(recording)
    assert gone.value.code == "NOT_FOUND"
    assert "secret" not in str(gone.value)
    fetcher.close()
    again.close()


@pytest.mark.parametrize(("status", "code"), [(403, "ACCESS_DENIED"), (410, "NOT_FOUND"), (503, "FETCH_FAILED")])
def test_a_servers_refusal_becomes_a_code_without_the_signature(status, code):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/a.wav?token=secret"
    recording = Recording(source_uri=url.partition("?")[0], kind="object", url=url.encode(), num_bytes=9)
    fetcher = Fetcher(FetchLimits(attempts=2, first_pause_s=0.01), {})
    with pytest.raises(BadRecording) as refused:
        fetcher.local_path(recording)
    assert refused.value.code == code
    assert "secret" not in str(refused.value)
    fetcher.close()
    server.shutdown()
    server.server_close()


def test_a_url_that_is_not_there_is_the_users_error(web):
    url, _ = web
    with pytest.raises(UsageError, match="nothing is there") as refused:
        list(list_archives([f"{url}/none.wav?signature=secret"], out=locate("/nowhere")))
    assert "secret" not in str(refused.value)
