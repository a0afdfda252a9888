"""What counts as a recording, and that each counts once."""

import os
import random
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.errors import UsageError
from emosphere.store import locate
from pipelines.archive.dates import Window
from pipelines.archive.fetch import Fetcher, FetchLimits
from pipelines.archive.listing import list_archives
from pipelines.score.plan.choose import Choice
from tests.pipelines.archive.building import listed, member, touch


def names(*archives: object, out: str = "/nowhere/out") -> list[str]:
    return [recording.source_uri.rpartition("/")[2] for recording in listed(*archives, out=out)]


def test_a_folder_gives_every_file_but_hidden_ones_and_sidecars(tmp_path):
    for name in [
        "b.wav",
        "a.MP3",
        "deep/er/c.xyz",
        ".hidden.wav",
        "_part.wav",
        "_temp/d.wav",
        ".git/e.wav",
        "notes.txt",
        "b.json",
        "b.RTTM",
        "cover.jpg",
        "noending",
    ]:
        touch(tmp_path / name)
    assert sorted(names(tmp_path)) == ["a.MP3", "b.wav", "c.xyz", "noending"]


def test_files_below_out_are_not_recordings(tmp_path):
    touch(tmp_path / "a.wav")
    touch(tmp_path / "scores/segments/x.wav")
    assert names(tmp_path, out=str(tmp_path / "scores")) == ["a.wav"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    """A link to nothing is a row."""
    touch(tmp_path / "elsewhere/a.wav")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file.wav").symlink_to(tmp_path / "elsewhere/a.wav")
    (tmp_path / "in/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/circle").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.wav").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "in/pipe.wav")
    found = {recording.source_uri.rpartition("/")[2]: recording.error_code for recording in listed(tmp_path / "in")}
    assert found == {"file.wav": None, "a.wav": None, "gone.wav": "NOT_FOUND"}


def test_mutated_archive_files_never_stop_the_listing(tmp_path):
    with zipfile.ZipFile(tmp_path / "good.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", b"x" * 500)
    with tarfile.open(tmp_path / "good.tar", "w") as archive:
        archive.add(tmp_path / "good.zip", "a.wav")
    pq.write_table(pa.table({"audio": [b"one", b"two"]}), tmp_path / "good.parquet")
    random_bytes = random.Random(0)
    folder = tmp_path / "mutated"
    for number in range(400):
        good = tmp_path / f"good.{('zip', 'tar', 'parquet')[number % 3]}"
        data = bytearray(good.read_bytes())
        for _ in range(random_bytes.randint(1, 8)):
            data[random_bytes.randrange(len(data))] = random_bytes.randrange(256)
        touch(folder / f"{number}{good.suffix}", bytes(data[: random_bytes.randint(1, len(data))]))
    assert len(listed(folder)) > 200


def test_overlapping_archives_count_once(tmp_path):
    touch(tmp_path / "in/a.wav")
    touch(tmp_path / "b.wav")
    archives = [str(tmp_path), str(tmp_path / "in"), str(tmp_path / "*.wav"), str(tmp_path / "b.wav")]
    with Choice() as choice:
        choice.take(list_archives(archives, out=locate("/nowhere/out")), window=Window())
        choice.leave_out_finished([], "s")
        found = [recording.source_uri.rpartition("/")[2] for recording in choice.recordings()]
    assert sorted(found) == ["a.wav", "b.wav"]


def test_the_uri_of_a_local_file_is_absolute(tmp_path, monkeypatch):
    touch(tmp_path / "in/a b ü.wav")
    monkeypatch.chdir(tmp_path)
    uris = {
        listed(way)[0].source_uri for way in ["in", "./in/a b ü.wav", tmp_path / "in/../in", f"file://{tmp_path}/in"]
    }
    assert uris == {f"file://{tmp_path}/in/a b ü.wav"}


def test_a_name_that_is_not_text_is_spelt_in_percent(tmp_path):
    """And it still opens."""
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(path, "wb") as file:
        file.write(b"data")
    [recording] = listed(tmp_path)
    assert recording.source_uri.endswith("caf%E9.wav")
    fetcher = Fetcher(FetchLimits(), {})
    with open(fetcher.local_path(recording), "rb") as file:
        assert file.read() == b"data"
    fetcher.close()


@pytest.mark.parametrize("archive", ["missing", "missing/*.wav"])
def test_an_archive_that_is_not_there_is_the_users_error(tmp_path, archive):
    with pytest.raises(UsageError, match=r"no such file or folder|no file matches"):
        listed(tmp_path / archive)


def test_the_version_follows_size_and_time_on_a_disk(tmp_path):
    path = touch(tmp_path / "a.wav", b"one")
    first = listed(path)[0].content_version
    os.utime(path, (1, 1))
    second = listed(path)[0].content_version
    touch(path, b"three")
    os.utime(path, (1, 1))
    assert len({first, second, listed(path)[0].content_version}) == 3


def test_strange_names_are_listed_and_fetched(tmp_path):
    strange = [
        "ü é 漢字 🎧.wav",
        "a::b.wav",
        "per%20cent.wav",
        "quo'te\".wav",
        "new\nline.wav",
        "-rf.wav",
        "x" * 200 + ".wav",
    ]
    for number, name in enumerate(strange):
        touch(tmp_path / "files" / name, str(number).encode())
    with zipfile.ZipFile(tmp_path / "files/z.zip", "w") as archive, tarfile.open(tmp_path / "files/t.tar", "w") as tar:
        for number, name in enumerate(strange):
            archive.writestr(name, str(number))
            member(tar, name, str(number).encode())
    fetcher = Fetcher(FetchLimits(), {})
    recordings = listed(tmp_path / "files")
    assert len(recordings) == len({one.source_uri for one in recordings}) == 3 * len(strange)
    for one in recordings:
        name = one.member or os.fsdecode(one.url).rpartition("/")[2]
        assert Path(fetcher.local_path(one)).read_text() == str(strange.index(name))
    fetcher.close()
