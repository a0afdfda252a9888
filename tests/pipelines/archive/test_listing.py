"""What counts as a recording, and that each counts once."""

import io
import json
import os
import random
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.errors import BadRecording, UsageError
from emosphere.store import locate
from pipelines.archive.dates import Window
from pipelines.archive.fetch import Fetcher, FetchLimits
from pipelines.archive.listing import list_archives
from pipelines.archive.members import ListLimits
from pipelines.choose import Choice


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def listed(*archives: object, out: str = "/nowhere/out") -> list:
    return list(list_archives([str(archive) for archive in archives], out=locate(out)))


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


def test_links_are_followed_but_not_in_circles_and_a_link_to_nothing_is_a_row(tmp_path):
    touch(tmp_path / "elsewhere/a.wav")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file.wav").symlink_to(tmp_path / "elsewhere/a.wav")
    (tmp_path / "in/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/circle").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.wav").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "in/pipe.wav")
    found = {recording.source_uri.rpartition("/")[2]: recording.error_code for recording in listed(tmp_path / "in")}
    assert found == {"file.wav": None, "a.wav": None, "gone.wav": "NOT_FOUND"}


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


@pytest.mark.parametrize("mtime", [-1e9, 1e18, float("inf")])
def test_a_member_with_an_impossible_time_is_listed_without_it(tmp_path, mtime):
    with tarfile.open(tmp_path / "calls.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.wav")
        info.pax_headers["mtime"] = str(mtime)
        archive.addfile(info, io.BytesIO())
    [recording] = listed(tmp_path)
    assert recording.modified_us is None


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
        choice.judge([], "s")
        found = [recording.source_uri.rpartition("/")[2] for recording in choice.recordings()]
    assert sorted(found) == ["a.wav", "b.wav"]


def test_the_uri_of_a_local_file_is_absolute_whatever_way_it_was_named(tmp_path, monkeypatch):
    touch(tmp_path / "in/a b ü.wav")
    monkeypatch.chdir(tmp_path)
    uris = {
        listed(way)[0].source_uri for way in ["in", "./in/a b ü.wav", tmp_path / "in/../in", f"file://{tmp_path}/in"]
    }
    assert uris == {f"file://{tmp_path}/in/a b ü.wav"}


def test_a_name_that_is_not_text_is_spelt_in_percent_and_still_opens(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(path, "wb") as file:
        file.write(b"data")
    [recording] = listed(tmp_path)
    assert recording.source_uri.endswith("caf%E9.wav")
    fetcher = Fetcher(FetchLimits(), {})
    with open(fetcher.local_path(recording), "rb") as file:
        assert file.read() == b"data"
    fetcher.close()


def test_members_of_zip_and_tar_are_recordings(tmp_path):
    with zipfile.ZipFile(tmp_path / "calls.zip", "w") as archive:
        for name in ["one.wav", "in/two.mp3", "notes.txt", "__MACOSX/one.wav", "in/"]:
            archive.writestr(name, b"" if name.endswith("/") else b"zipped " + name.encode())
    for mode, name in [("w", "calls.tar"), ("w:gz", "calls.tar.gz")]:
        with tarfile.open(tmp_path / name, mode) as archive:
            for member in ["one.wav", "in/two.mp3", "notes.txt"]:
                data = b"tarred " + member.encode()
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    recordings = listed(tmp_path)
    assert {recording.source_uri for recording in recordings} == {
        f"{kind}://{member}::file://{tmp_path}/{name}"
        for kind, name in [("zip", "calls.zip"), ("tar", "calls.tar"), ("tar", "calls.tar.gz")]
        for member in ["one.wav", "in/two.mp3"]
    }
    fetcher = Fetcher(FetchLimits(), {})
    for recording in [*recordings, *reversed(recordings)]:
        data = Path(fetcher.local_path(recording)).read_bytes()
        assert data == (b"zipped " if recording.kind == "zip" else b"tarred ") + recording.member.encode()
    fetcher.close()


def test_a_zip_written_anew_with_the_same_content_keeps_its_versions(tmp_path):
    versions = []
    for year in (2020, 2021):
        with zipfile.ZipFile(tmp_path / "calls.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo("one.wav", (year, 1, 1, 0, 0, 0)), b"same")
        versions.append(listed(tmp_path)[0].content_version)
    assert versions[0] == versions[1]


@pytest.mark.parametrize(("name", "code"), [("../../etc/passwd.wav", "REFUSED"), ("/root.wav", "REFUSED")])
def test_a_member_that_points_outside_is_refused_with_a_reason(tmp_path, name, code):
    with zipfile.ZipFile(tmp_path / "trick.zip", "w") as archive:
        archive.writestr(name, b"data")
    [recording] = listed(tmp_path)
    assert recording.error_code == code
    assert "outside" in recording.error_message


@pytest.mark.parametrize("name", ["bad.zip", "bad.tar", "bad.tar.gz"])
def test_an_archive_file_that_cannot_be_read_is_itself_a_row(tmp_path, name):
    touch(tmp_path / name, b"this is no archive at all" * 50)
    [recording] = listed(tmp_path)
    assert recording.source_uri.endswith(name)
    assert recording.error_code == "CORRUPT"


def test_cells_of_a_table_with_audio_are_recordings_with_attributes(tmp_path):
    audio = pa.array([{"bytes": b"one", "path": "1.wav"}, {"bytes": b"two", "path": None}])
    pq.write_table(pa.table({"audio": audio, "call": ["0012", "0013"]}), tmp_path / "calls.parquet", row_group_size=1)
    recordings = listed(tmp_path)
    uri = f"file://{tmp_path}/calls.parquet"
    assert [recording.source_uri for recording in recordings] == [f"parquet://audio/{row}::{uri}" for row in range(2)]
    assert [json.loads(recording.attributes) for recording in recordings] == [{"call": "0012"}, {"call": "0013"}]
    fetcher = Fetcher(FetchLimits(), {})
    assert [Path(fetcher.local_path(recording)).read_bytes() for recording in recordings] == [b"one", b"two"]
    fetcher.close()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_lists_recordings_and_its_other_columns_travel(tmp_path, ending):
    touch(tmp_path / "in/a.wav")
    rows = {"uri": [str(tmp_path / "in/a.wav"), "in/a.wav", "gone.wav"], "call_id": ["007", "007", "008"]}
    manifest = tmp_path / f"list.{ending}"
    if ending == "csv":
        manifest.write_text("uri,call_id\n" + "\n".join(map(",".join, zip(*rows.values(), strict=True))) + "\n")
    else:
        pq.write_table(pa.table(rows), manifest)
    one, again, gone = listed(manifest)
    assert again == one
    assert one.source_uri == f"file://{tmp_path}/in/a.wav"
    assert json.loads(one.attributes) == {"call_id": "007"}
    assert gone.error_code == "NOT_FOUND"


def test_a_manifest_without_uri_is_refused_with_what_it_has(tmp_path):
    (tmp_path / "list.csv").write_text("path,call\na.wav,1\n")
    with pytest.raises(UsageError, match="needs a column 'uri'; found path, call"):
        listed(tmp_path / "list.csv")


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


# What a hostile or damaged archive may try


def member(archive: tarfile.TarFile, name: str, data: bytes = b"data", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("name", ["../../etc/passwd.wav", "/root.wav", "a/../../b.wav", "..\\b.wav", "nul\0.txt.wav"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_trick_in_either_kind_is_refused_and_unpacks_nothing(tmp_path, name, kind):
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "trick.zip", "w") as archive:
            info = zipfile.ZipInfo("x" * len(name))
            archive.writestr(info, b"data")
        raw = (tmp_path / "trick.zip").read_bytes().replace(b"x" * len(name), name.encode())
        (tmp_path / "trick.zip").write_bytes(raw)
    else:
        if "\0" in name:
            pytest.skip("a tar ends a name there")
        with tarfile.open(tmp_path / "trick.tar", "w") as archive:
            member(archive, name)
    [recording] = listed(tmp_path)
    assert (recording.error_code, "outside" in recording.error_message) == ("REFUSED", True)


@pytest.mark.parametrize("kind", ["w", "w:gz"])
def test_a_link_or_device_in_an_archive_is_refused_with_a_reason(tmp_path, kind):
    with tarfile.open(tmp_path / ("links.tar" if kind == "w" else "links.tar.gz"), kind) as archive:
        for name, type_ in (
            ("soft.wav", tarfile.SYMTYPE),
            ("hard.wav", tarfile.LNKTYPE),
            ("null.wav", tarfile.CHRTYPE),
        ):
            member(archive, name, b"", type=type_, linkname="/etc/passwd")
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        info = zipfile.ZipInfo("soft.wav")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    recordings = listed(tmp_path)
    assert len(recordings) == 4
    assert {(recording.error_code, recording.error_message) for recording in recordings} == {
        ("REFUSED", "The member is a link or a device, no file.")
    }


@pytest.mark.parametrize("name", ["many.zip", "many.tar", "many.tar.gz"])
def test_an_archive_file_of_absurdly_many_members_is_refused(tmp_path, name):
    if name.endswith("zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number in range(30):
                archive.writestr(f"{number}.wav", b"")
    else:
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for number in range(30):
                member(archive, f"{number}.wav")
    few = list(list_archives([str(tmp_path)], out=locate("/o"), limits=ListLimits(max_members=20)))
    [refused] = [recording for recording in few if recording.error_code]
    assert (refused.source_uri.rpartition("/")[2], refused.error_code) == (name, "REFUSED")
    assert "more than 20 members" in refused.error_message
    assert len(listed(tmp_path)) == 30


def test_a_zip_whose_directory_lies_about_its_length_is_refused_before_it_is_read(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "lies.zip", "w") as archive:
        archive.writestr("a.wav", b"data")
    data = bytearray((tmp_path / "lies.zip").read_bytes())
    at = data.rfind(b"PK\5\6")
    data[at + 12 : at + 16] = (0xFFFFFFFE).to_bytes(4, "little")
    (tmp_path / "lies.zip").write_bytes(data)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *args: pytest.fail("the directory was read"))
    [recording] = listed(tmp_path)
    assert recording.error_code == "REFUSED"


def test_a_compressed_tar_that_unpacks_without_end_is_refused_before_it_is_unpacked(tmp_path):
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz", compresslevel=9) as archive:
        member(archive, "first.wav", b"data")
        info = tarfile.TarInfo("bomb.wav")
        info.size = 80 << 20
        archive.addfile(info, io.BytesIO(bytes(80 << 20)))
    strict = ListLimits(max_unpack_ratio=10.0)
    found = {
        one.source_uri.rpartition("/")[2]: one
        for one in list_archives([str(tmp_path)], out=locate("/o"), limits=strict)
    }
    assert found["bomb.tar.gz"].error_code == "REFUSED"
    assert "bomb" in found["bomb.tar.gz"].error_message
    assert len(listed(tmp_path)) == 2


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


# What changes while it is read


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
