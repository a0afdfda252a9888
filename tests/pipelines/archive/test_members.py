"""Members of archive files, and what a hostile or damaged archive file may try."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from emosphere.store import locate
from pipelines.archive.fetch import Fetcher, FetchLimits
from pipelines.archive.listing import list_archives
from pipelines.archive.members import HEADER_BLOCK_BYTES, LONGEST_HEADER, ListLimits
from tests.pipelines.archive.building import listed, member, touch


@pytest.mark.parametrize("mtime", [-1e9, 1e18, float("inf")])
def test_a_member_with_an_impossible_time_is_listed_without_it(tmp_path, mtime):
    with tarfile.open(tmp_path / "calls.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.wav")
        info.pax_headers["mtime"] = str(mtime)
        archive.addfile(info, io.BytesIO())
    [recording] = listed(tmp_path)
    assert recording.modified_us is None


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


def test_a_zip_whose_directory_lies_is_refused_unread(tmp_path, monkeypatch):
    """About its length."""
    with zipfile.ZipFile(tmp_path / "lies.zip", "w") as archive:
        archive.writestr("a.wav", b"data")
    data = bytearray((tmp_path / "lies.zip").read_bytes())
    at = data.rfind(b"PK\5\6")
    data[at + 12 : at + 16] = (0xFFFFFFFE).to_bytes(4, "little")
    (tmp_path / "lies.zip").write_bytes(data)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *args: pytest.fail("the directory was read"))
    [recording] = listed(tmp_path)
    assert recording.error_code == "REFUSED"


def test_a_compressed_tar_without_end_is_refused_unread(tmp_path):
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


def test_a_tar_on_s3_is_listed_by_its_headers(s3, requests, tmp_path):
    """The data stays there."""
    with tarfile.open(tmp_path / "calls.tar", "w") as archive:
        for number in range(12):
            member(archive, f"{number}.wav", bytes(1 << 20))
    s3.put(str(tmp_path / "calls.tar"), "audio/shards/calls.tar")
    requests.clear()
    assert len(listed("s3://audio/shards/calls.tar")) == 12
    assert requests["bytes"] <= 13 * (HEADER_BLOCK_BYTES + 2 * tarfile.BLOCKSIZE)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("name", ["bomb.tar", "bomb.tar.gz"])
def test_a_tar_whose_header_is_a_bomb_is_refused_unread(tmp_path, name, kind):
    with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
        member(archive, "first.wav")
        member(archive, "@LongLink", bytes(LONGEST_HEADER + 1), type=kind)
        member(archive, "last.wav")
    first, refused = listed(tmp_path)
    assert first.error_code is None
    assert (refused.error_code, "header" in refused.error_message) == ("REFUSED", True)


def test_an_encrypted_member_of_a_zip_is_refused_with_a_reason(tmp_path):
    with zipfile.ZipFile(tmp_path / "secret.zip", "w") as archive:
        archive.writestr("a.wav", b"data")
        archive.writestr("b.wav", b"data")
    data = bytearray((tmp_path / "secret.zip").read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(mark) + at] |= 1
    (tmp_path / "secret.zip").write_bytes(data)
    locked, free = listed(tmp_path)
    assert (locked.error_code, locked.error_message) == ("REFUSED", "The member is encrypted.")
    assert free.error_code is None
