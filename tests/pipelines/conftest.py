"""An archive of real sound in many containers, made from the project's own demonstration voices."""

import contextlib
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile

from emosphere.audio.decoding.decode import DecodeLimits, open_recording
from emosphere.store import locate
from pipelines.output.ledger import read_parquet
from pipelines.score.command import TooManyFailures, score
from pipelines.score.request import ScoreRequest

DEMO = Path(__file__).parents[2] / "demo" / "archive"


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """About a minute of synthetic speech, 16 kHz mono float32."""
    stream = open_recording(str(DEMO / "podcast_episode_01.mp3"), limits=DecodeLimits())
    return np.concatenate(list(stream), axis=1)[0]


@pytest.fixture
def archive(tmp_path: Path, voice: np.ndarray) -> Path:
    """Six recordings: three that speak (one of them stereo), one silent, one empty, one that is text."""
    folder = tmp_path / "archive"
    folder.mkdir()
    soundfile.write(folder / "a.wav", voice[: 16 * 12_000], 16_000)
    soundfile.write(folder / "b.flac", voice[16 * 5_000 : 16 * 20_000], 16_000)
    stereo = np.stack([voice[: 16 * 10_000], voice[16 * 20_000 : 16 * 30_000]], axis=1)
    soundfile.write(folder / "c.wav", stereo, 16_000, subtype="ULAW")
    soundfile.write(folder / "silent.wav", np.zeros(16_000 * 3), 16_000)
    (folder / "empty.mp3").touch()
    (folder / "text.wav").write_text("no sound here, only words\n" * 20)
    return folder


@pytest.fixture
def rows() -> Callable[..., pd.DataFrame]:
    """Published rows of a table by plain glob, sorted, without what names the run."""

    def read(out: Path | str, table: str, *, keep: tuple[str, ...] = ()) -> pd.DataFrame:
        root = locate(str(out)).child(table)
        tables = []
        for path in root.files():
            *_, dt, model, _ = path.split("/")
            part = read_parquet(type(root)(root.fs, path))
            for name, value in (("dt", dt), ("model", model)):
                part = part.append_column(name, pa.array([value] * len(part), pa.string()))
            tables.append(part)
        frame = pa.concat_tables(tables).to_pandas()
        frame = frame.drop(columns=[name for name in ("run_id", "scored_at") if name not in keep])
        keys = [name for name in ("model", "recording_id", "channel", "start_ms") if name in frame]
        return frame.sort_values(keys).reset_index(drop=True)

    return read


@pytest.fixture
def copy_demo(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path / "demo"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, voice: np.ndarray) -> Path:
    """For erasing: an archive, tables of it, and a run that was refused for its failures and keeps its plan and
    staging.
    """
    home = tmp_path_factory.mktemp("made")
    archive = home / "archive"
    for number, name in enumerate(["customer-17/a", "customer-17/b", "customer-170/c", "d"]):
        (archive / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(archive / f"{name}.flac", voice[16_000 * number : 16_000 * (number + 5)], 16_000)
    # The same recording by name, so that its URI stands in `runs`; and one with a speaker.
    manifest = home / "list.csv"
    manifest.write_text("uri,speaker\narchive/d.flac,Ann\n")
    archives = (str(archive / "customer-17/b.flac"), str(manifest), str(archive))
    out = home / "out"
    result = score(ScoreRequest(archives=archives, out=str(out), dt="2026-11-20"))
    assert result["scored"] == 4
    late = archive / "customer-17/late"
    late.mkdir()
    soundfile.write(late / "e.flac", voice[: 16_000 * 4], 16_000)
    (late / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(TooManyFailures):
        score(ScoreRequest(archives=(str(archive),), out=str(out), dt="2026-11-21", max_error_rate=0.0))
    assert list(out.rglob("staging/*.parquet"))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the tables of ``made``."""
    shutil.copytree(made / "out", tmp_path / "out")
    return tmp_path


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """Filesystem of an S3 server with two empty buckets; its address is set for this process and its children.

    A fresh one in this process; or, where EMOSPHERE_TEST_S3 says ``plain`` or ``versioned``, the one that the AWS
    variables name, with buckets of that kind (`make test-s3`).
    """
    import s3fs

    buckets = os.environ.get("EMOSPHERE_TEST_S3")
    with contextlib.nullcontext() if buckets else moto_server():
        s3fs.S3FileSystem.clear_instance_cache()
        filesystem = s3fs.S3FileSystem(use_listings_cache=False)
        if buckets and urlsplit(os.environ["AWS_ENDPOINT_URL"]).hostname != "127.0.0.1":
            pytest.fail("EMOSPHERE_TEST_S3 is for a server of this machine: its buckets are emptied.")
        for name in ("audio", "tables"):
            if filesystem.exists(name):
                filesystem.rm(name, recursive=True)
            filesystem.mkdir(name)
        if buckets == "versioned":
            filesystem.make_bucket_versioned("tables")
        yield filesystem
        s3fs.S3FileSystem.clear_instance_cache()


@contextlib.contextmanager
def moto_server() -> Iterator[None]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        # Buckets belong to the process, not to its server: those of an earlier one would still be there.
        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        yield
    server.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the server is one of the tests that `make test-s3` runs on a real one."""
    for item in items:
        if "s3" in getattr(item, "fixturenames", ()):
            item.add_marker("s3")
