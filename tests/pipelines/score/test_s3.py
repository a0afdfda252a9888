"""The same on S3: a real HTTP server, the ordinary AWS settings, nothing else."""

import http.server
import json
import os
import subprocess
import sys
import threading

from emosphere.store import locate
from tests.rounding import assert_same_rows


def emosphere(root, *words):
    command = [sys.executable, "-m", "jobs", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, env=os.environ)


def test_from_s3_to_s3_the_rows_are_those_of_a_disk(s3, root, tmp_path, rows):
    s3.put(str(root / "demo/archive"), "audio/night", recursive=True)
    s3.pipe_file("audio/night//odd//deep.flac", (root / "demo/archive/story.flac").read_bytes())
    s3.pipe_file("audio/night/odd::name.wav", (root / "demo/archive/broken_download.mp3").read_bytes())
    command = ["score", "s3://audio/night", "--out", "s3://tables/emotion", "--dt", "2026-11-20", "--json"]
    done = emosphere(root, *command)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    again = json.loads(emosphere(root, *command).stdout)
    assert again["skipped"] == result["recordings"]
    local = tmp_path / "out"
    disk = emosphere(root, "score", "demo/archive", "--out", local, "--dt", "2026-11-20", "--json")
    assert json.loads(disk.stdout)["segments"] > 0

    def comparable(frame):
        frame["name"] = frame["source_uri"].str.replace(r"(s3://audio/night|file://.*demo/archive)", "", regex=True)
        frame = frame[~frame["name"].str.contains("odd")]
        volatile = ["recording_id", "source_uri", "content_version", "modified_at"]
        keys = [name for name in ("name", "channel", "start_ms", "num_bytes") if name in frame]
        return frame.drop(columns=[name for name in volatile if name in frame]).sort_values(keys, ignore_index=True)

    for table in ("segments", "recordings"):
        assert_same_rows(comparable(rows("s3://tables/emotion", table)), comparable(rows(local, table)))
    status = rows("s3://tables/emotion", "recordings").set_index("source_uri")["status"]
    assert status["s3://audio/night/odd::name.wav"] == status["s3://audio/night//odd//deep.flac"] == "scored"
    counted = emosphere(root, "sql", "s3://tables/emotion", "SELECT count(*) AS n FROM segments", "--format", "json")
    assert json.loads(counted.stdout)[0]["n"] == result["segments"]


def test_a_missing_bucket_is_exit_code_1_and_one_message(s3, root):
    done = emosphere(root, "score", "s3://no-such-bucket/night", "--out", "s3://tables/other", "--json")
    assert done.returncode == 1
    assert "no-such-bucket" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr
    assert not s3.exists("tables/other")


def test_a_missing_out_bucket_is_exit_code_1_and_one_message(s3, root):
    s3.put(str(root / "demo/archive/story.flac"), "audio/one/story.flac")
    done = emosphere(root, "score", "s3://audio/one", "--out", "s3://no-such-bucket/other", "--json")
    assert done.returncode == 1
    assert "no-such-bucket" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr


def test_doctor_checks_both_sides_and_leaves_nothing_behind(s3, root):
    s3.put(str(root / "demo/archive/story.flac"), "audio/one/story.flac")
    done = emosphere(root, "doctor", "s3://audio/one", "s3://tables/doctor", "--json")
    found = {line["check"]: line["state"] for line in json.loads(done.stdout)["findings"]}
    assert (found["archive"], found["out"], found["codecs"]) == ("ok", "ok", "ok")
    assert "encryption" in found
    assert (found["clock"], found["conditional writes"]) == ("ok", "ok")
    assert not s3.exists("tables/doctor")


def test_refused_credentials_are_exit_code_1_and_one_message(s3, root, monkeypatch):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_PUT = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for archive, out in [("s3://audio/night", "/nowhere/out"), ("demo/archive", "s3://tables/refused")]:
        done = emosphere(root, "score", archive, "--out", out, "--json")
        assert done.returncode == 1
        assert "Access refused: could not" in json.loads(done.stdout)["error"]
        assert "Traceback" not in done.stderr
    server.shutdown()
    server.server_close()


def test_on_s3_only_the_version_that_was_read_is_replaced(s3):
    location = locate("s3://tables/conditional/object")
    assert location.etag() is None
    assert location.replace_bytes(b"one", None)
    assert not location.replace_bytes(b"nobody should see this", None)
    before = location.etag()
    assert location.replace_bytes(b"two", before)
    assert not location.replace_bytes(b"nor this", before)
    assert location.read_bytes() == b"two"
    assert not location.create_bytes(b"nor that")
