"""Conditional writes on stores that speak S3 each in its own way."""

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from emosphere.errors import MachineError
from emosphere.store import TRIES, Location


class Refused(Exception):
    """What botocore raises for an answer."""

    def __init__(self, status: int, code: str, operation: str) -> None:
        super().__init__(code)
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code, "Message": None}}
        self.operation_name = operation


class Store:
    """As much of a filesystem as conditional writes need, in memory."""

    protocol = ("s3", "s3a")

    def __init__(self, knows: str = "quoted bare", is_encrypted: bool = False) -> None:
        self.knows = knows
        self.is_encrypted = is_encrypted
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.loses_answers = 0
        self.s3 = SimpleNamespace(meta=SimpleNamespace(endpoint_url="http://store.example"))

    def tag(self, data: bytes) -> str:
        return f'"{hashlib.md5(data + b"key" * self.is_encrypted).hexdigest()}"'

    def info(self, path: str) -> dict[str, Any]:
        self.requests.append("HEAD")
        if path not in self.objects:
            raise FileNotFoundError(path)
        data = self.objects[path]
        return {"type": "file", "ETag": self.tag(data), "size": len(data)}

    def cat_file(self, path: str) -> bytes:
        self.requests.append("GET")
        return self.objects[path]

    def pipe_file(self, path: str, data: bytes, chunksize: int = 0, **condition: str) -> None:
        while True:  # as botocore does, once more where no answer came
            self.requests.append("PUT")
            self.check(path, **condition)
            self.objects[path] = data
            if not self.loses_answers:
                return
            self.loses_answers -= 1

    def check(self, path: str, IfMatch: str | None = None, IfNoneMatch: str | None = None) -> None:  # noqa: N803
        holds = IfNoneMatch is None or path not in self.objects
        if IfMatch is not None:
            if path not in self.objects:
                raise FileNotFoundError(path) from Refused(404, "NoSuchKey", "PutObject")
            tag = self.tag(self.objects[path])
            holds = IfMatch in [{"quoted": tag, "bare": tag.strip('"')}[form] for form in self.knows.split()]
        if not holds:
            raise OSError(22, None) from Refused(412, "PreconditionFailed", "PutObject")


def at(store: Store) -> Location:
    return Location(store, "bucket/object")


@pytest.mark.parametrize("knows", ["quoted", "bare", "quoted bare"])
def test_what_was_read_is_replaced_and_what_changed_is_not(knows: str) -> None:
    location = at(Store(knows))
    assert location.replace_bytes(b"one", None)
    first = location.etag()
    assert location.replace_bytes(b"two", first)
    assert not location.replace_bytes(b"nor this", first)
    assert not location.replace_bytes(b"nor this", None)
    assert location.read_bytes() == b"two"


def test_the_form_of_the_etag_is_found_out_once() -> None:
    store = Store("bare")
    location = at(store)
    for number in range(4):
        assert location.replace_bytes(b"x" * number, location.etag())
    before = len(store.requests)
    assert location.replace_bytes(b"five", location.etag())
    assert store.requests[before:] == ["HEAD", "PUT"]
    store.knows = "quoted"  # another server at that address
    assert location.replace_bytes(b"six", location.etag())


def test_a_store_that_does_not_know_its_own_etag_is_named() -> None:
    location = at(Store(""))
    location.write_bytes(b"one")
    with pytest.raises(MachineError, match=r"http://store\.example answers 412 .* with and without its quotes"):
        location.replace_bytes(b"two!", location.etag())
    assert location.read_bytes() == b"one"


def test_what_is_gone_cannot_be_replaced() -> None:
    location = at(Store())
    location.write_bytes(b"one")
    etag = location.etag()
    location.fs.objects.clear()
    assert not location.replace_bytes(b"two", etag)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_write_whose_answer_was_lost_is_known_again(is_encrypted: bool) -> None:
    store = Store(is_encrypted=is_encrypted)
    location = at(store)
    store.loses_answers = 1
    assert location.replace_bytes(b"one", None)
    etag = location.etag()
    store.loses_answers = 1
    assert location.replace_bytes(b"two", etag)
    assert location.read_bytes() == b"two"
    assert not location.replace_bytes(b"333", etag)


def test_a_rewrite_of_what_others_keep_changing_ends_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("emosphere.store.explain.time.sleep", pauses.append)
    location = at(Store())
    tries = 0

    def make() -> bytes:
        nonlocal tries
        tries += 1
        location.write_bytes(b"theirs" * tries)
        return b"ours"

    with pytest.raises(MachineError, match=f"at each of {TRIES} tries it was another version"):
        location.rewrite(make, lambda: None)
    assert (tries, len(pauses)) == (TRIES, TRIES - 1)
    assert pauses[0] < 1 < sum(pauses) < 60


def test_a_rewrite_goes_on_from_what_another_wrote(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("emosphere.store.explain.time.sleep", lambda pause_s: None)
    location = at(Store("bare"))
    location.write_bytes(b"a")
    meanwhile = [b"ab"]

    def make() -> bytes:
        data = location.read_bytes()
        if meanwhile:
            location.write_bytes(meanwhile.pop())
        return data + b"c"

    location.rewrite(make, lambda: None)
    assert location.read_bytes() == b"abc"
    assert "s3://bucket/object: changed by another meanwhile; try 2 of" in caplog.text
