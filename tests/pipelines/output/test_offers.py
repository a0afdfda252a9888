"""An OUT that cannot keep two writers apart is refused before anything is written."""

import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest

from emosphere.errors import MachineError
from emosphere.store import Location, locate
from pipelines.output.ledger import HOME
from pipelines.output.offers import check_offers, offers


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "disk":
        return locate(str(tmp_path / "out"))
    request.getfixturevalue("s3")
    return locate(f"s3://tables/{tmp_path.name}")


def test_what_holds_is_tried_and_nothing_is_left(out: Location) -> None:
    found = offers(out)
    assert [offer.holds for offer in found] == [True] * len(found)
    assert len(found) >= 3
    check_offers(out)
    assert out.child(HOME).files() == out.files() == []


def overwrites(self: Location, data: bytes) -> bool:
    self.write_bytes(data)
    return True


def ignores_the_etag(self: Location, data: bytes, etag: str | None) -> bool:
    self.write_bytes(data)
    return True


@pytest.mark.parametrize(
    ("method", "stand_in", "words"),
    [
        ("create_bytes", overwrites, "it overwrote an object that it was told to create only if absent"),
        ("create_bytes", lambda self, data: False, "it refused to create an object of a new name"),
        ("files", lambda self: [], "is not in the listing"),
    ],
)
def test_what_does_not_hold_is_refused_in_words(
    out: Location, monkeypatch: pytest.MonkeyPatch, method: str, stand_in: Any, words: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Location, method, stand_in)
        with pytest.raises(MachineError, match=f"{words}.*docs/storage.md"):
            check_offers(out)
    assert out.files() == []


@pytest.mark.parametrize(
    ("stand_in", "words"),
    [
        (ignores_the_etag, "it overwrote an object though the ETag"),
        (lambda self, data, etag: False, "it did not replace an object whose ETag was named rightly"),
    ],
)
def test_an_s3_that_does_not_hear_if_match_is_refused(
    s3: Any, monkeypatch: pytest.MonkeyPatch, stand_in: Any, words: str
) -> None:
    out = locate("s3://tables/deaf")
    monkeypatch.setattr(Location, "replace_bytes", stand_in)
    with pytest.raises(MachineError, match=words):
        check_offers(out)
    assert not out.files()


def test_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(MachineError, match=r"no file locks .*No locks available.*NFS without 'nolock'"):
        check_offers(locate(str(tmp_path)))


def test_a_disk_whose_locks_keep_nobody_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(MachineError, match="lets two hold one exclusive lock"):
        check_offers(locate(str(tmp_path)))
    assert list(tmp_path.rglob("*")) == [tmp_path / HOME]


def test_a_store_without_conditional_writes_is_refused_untouched() -> None:
    out = locate("memory://offers/out")
    with pytest.raises(MachineError, match="memory:// has no conditional writes"):
        check_offers(out)
    assert out.files() == []


def test_what_cannot_be_written_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(MachineError, match="Could not create"):
        check_offers(locate(str(tmp_path / "out")))
