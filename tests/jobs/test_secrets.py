"""Nothing secret is written or printed, in runs that fail as in runs that go well: everything is searched."""

import base64
import functools
import http.server
import io
import json
import shutil
import threading
import zipfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from emosphere.tables.identity import IdKey
from pipelines.score.plan.cut import PLAN_SCHEMA

KEY = "a key of the test, long enough"
NUMBER = "+49 171 5551234"
SIGNATURE = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAQQQQ%2Fs3&X-Amz-Signature=feedface0123456789"
SECRETS = ["feedface", "AKIAQQQQ", "hunter2", "wJalrXUtnFEMIK7MDENG"]


def spelled_out(out: Path) -> str:
    """Every byte of every file below OUT, and every value of every Parquet file."""
    text = []
    for path in sorted(out.rglob("*")):
        if path.is_file():
            text += [str(path), path.read_bytes().decode("latin-1")]
            if path.suffix == ".parquet":
                text.append(str(pq.ParquetFile(path).read().to_pylist()))
    return "\n".join(text)


def assert_none_of(words: list[str], text: str) -> None:
    assert [word for word in words if word in text or quote(word) in text] == []


@pytest.fixture
def web(tmp_path: Path, root: Path):
    """A web server that wants the signature, as a presigned address does."""
    folder = tmp_path / "web"
    folder.mkdir()
    shutil.copy(root / "demo/archive/story.flac", folder / "good.flac")
    (folder / "bad.wav").write_bytes(b"RIFF and nothing more")

    class Signed(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            super().do_GET() if "feedface" in self.path and "forbidden" not in self.path else self.send_error(403)

        def do_HEAD(self) -> None:
            super().do_HEAD() if "feedface" in self.path and "forbidden" not in self.path else self.send_error(403)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Signed, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://ann:hunter2@127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def aws(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAQQQQQQQQQQQQQQQQ")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENG")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def test_no_signature_user_or_key_is_written_or_printed(emosphere, web, aws, tmp_path, rows_of):
    manifest = tmp_path / "calls.csv"
    names = ["bad.wav", "forbidden.wav", "gone.wav"]
    link = "https://crm/x?token=hunter2"
    lines = ["uri,link", *(f"{web}/{name}?{SIGNATURE},{link}" for name in names)]
    manifest.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    settings = tmp_path / "settings.toml"
    settings.write_text("[fetch]\nfirst_pause_s = 0.01\n")
    command = ["score", manifest, f"{web}/good.flac?{SIGNATURE}", "--out", out, "--config", settings, "--json"]
    refused = emosphere(*command, "--max-error-rate", "0")
    assert refused.code == 3, refused.err
    assert list(out.rglob("plan/*.parquet")), "the plan is kept"
    assert_none_of(SECRETS, spelled_out(out) + refused.out + refused.err)
    done = emosphere(*command)
    assert done.code == 0, done.err
    assert sorted(row["status"] for row in rows_of(out, "recordings")) == ["failed"] * 3 + ["scored"]
    assert_none_of(SECRETS, spelled_out(out) + done.out + done.err)
    again = emosphere(*command)
    assert again.json["recordings"] == 4


@pytest.mark.parametrize(
    "archive",
    ["{web}/forbidden.wav?{signature}", "{web}/folder/?{signature}", "s3://AKIAQQQQ:hunter2@calls/night", "s3://calls",
     "nope://ann:hunter2@h/x?{signature}"],
)  # fmt: skip
def test_an_archive_that_cannot_be_listed_keeps_its_secrets(emosphere, web, aws, tmp_path, archive):
    archive = archive.format(web=web, signature=SIGNATURE)
    answer = emosphere("score", archive, "--out", tmp_path / "out", "--json", "--max-error-rate", "0")
    assert answer.code in (1, 2, 3)
    assert_none_of(SECRETS, answer.out + answer.err)
    if (tmp_path / "out").exists():
        assert_none_of(SECRETS, spelled_out(tmp_path / "out"))


@pytest.fixture
def calls(tmp_path: Path, root: Path) -> Path:
    """A good call, a broken one, and a zip with one of each, all named after a telephone number."""
    folder = tmp_path / f"calls of {NUMBER}"
    folder.mkdir()
    sound, rate = soundfile.read(root / "demo/archive/story.flac", frames=16_000 * 6, dtype="float32")
    soundfile.write(folder / f"{NUMBER}, in.wav", sound, rate)
    (folder / f"{NUMBER}: broken.wav").write_bytes(b"RIFF" + bytes(100))
    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(sound)[: rate * 4], rate, format="FLAC")
    with zipfile.ZipFile(folder / f"{NUMBER}.zip", "w") as archive:
        archive.writestr(f"{NUMBER}.flac", buffer.getvalue())
        archive.writestr(f"../{NUMBER}.wav", b"a trick")
    (folder / f"{NUMBER}.tar").write_bytes(b"no tar")
    return folder


def test_with_a_key_no_name_of_a_recording_is_written_or_printed(emosphere, calls, tmp_path, monkeypatch, rows_of):
    monkeypatch.setenv("EMOSPHERE_ID_KEY", KEY)
    out = tmp_path / "out"
    words = ["5551234", KEY, base64.b64encode(NUMBER.encode()).decode()[:10]]
    command = ["score", calls, "--out", out, "--json"]
    refused = emosphere(*command, "--max-error-rate", "0")
    assert refused.code == 3, refused.err
    assert list(out.rglob("staging/*.parquet")), "the plan is kept"
    assert_none_of(words, spelled_out(out) + refused.out + refused.err)
    done = emosphere(*command)
    assert (done.code, done.json["scored"], done.json["failed"]) == (0, 2, 3), done.err
    assert_none_of(words, spelled_out(out) + done.out + done.err)
    key = IdKey(KEY.encode())
    found = {row["recording_id"]: row["source_uri"] for row in rows_of(out, "recordings")}
    uri = f"file://{calls}/{NUMBER}, in.wav"
    assert found[key.hash(uri)[:32]] == key.hash(uri)
    assert json.loads((out / "_emosphere/identity.json").read_text()) == {"id_key": key.fingerprint}
    assert emosphere(*command).json["skipped"] == 5
    for other in (None, "another key of the test, as long"):
        monkeypatch.delenv("EMOSPHERE_ID_KEY") if other is None else monkeypatch.setenv("EMOSPHERE_ID_KEY", other)
        answer = emosphere(*command)
        assert answer.code == 2
        assert "EMOSPHERE_ID_KEY" in answer.err
        assert key.fingerprint in answer.err


def test_with_a_key_a_wrong_word_is_not_repeated(emosphere, calls, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOSPHERE_ID_KEY", KEY)
    answer = emosphere("score", calls / f"{NUMBER}, gone.wav", "--out", tmp_path / "out", "--json")
    assert answer.code == 2
    assert "there is no such file" in answer.err
    assert_none_of(["5551234", KEY], answer.out + answer.err)
    monkeypatch.setenv("EMOSPHERE_ID_KEY", "short")
    answer = emosphere("score", calls, "--out", tmp_path / "out")
    assert (answer.code, (tmp_path / "out").exists()) == (2, False)
    assert "EMOSPHERE_ID_KEY holds 5 bytes" in answer.err


def test_an_out_made_without_a_key_takes_none_later(emosphere, calls, tmp_path, monkeypatch):
    out = tmp_path / "out"
    (out / "_emosphere").mkdir(parents=True)
    (out / "_emosphere/snapshot.json").write_text("{}")
    monkeypatch.setenv("EMOSPHERE_ID_KEY", KEY)
    answer = emosphere("score", calls, "--out", out)
    assert answer.code == 2
    assert "made without a key" in answer.err


def test_every_column_of_a_plan_is_judged():
    """A column that is added must be covered by the seal, or be nothing that names a recording."""
    assert set(PLAN_SCHEMA.names) == {
        "unit_id", "recording_id", "unit_index", "num_units", "attempts", "source_uri", "kind", "url", "member",
        "offset", "num_bytes", "modified_us", "content_version", "attributes", "error_code", "error_message",
    }  # fmt: skip
