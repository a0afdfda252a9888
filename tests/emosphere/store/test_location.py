"""Bytes are replaced whole, created once, and found under one name."""

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emosphere.errors import MachineError, UsageError
from emosphere.store import locate, unsigned


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("/data/a b.wav", "file:///data/a b.wav"),
        ("file:///data/a.wav", "file:///data/a.wav"),
        ("/data/../x/./a.wav", "file:///x/a.wav"),
        ("s3://bucket/key/a::b.wav", "s3://bucket/key/a::b.wav"),
        ("s3a://bucket/key/", "s3://bucket/key"),
        ("https://user:pw@host/a.wav?X-Amz-Signature=1#x", "https://host/a.wav"),
    ],
)
def test_a_location_has_one_absolute_unsigned_uri(url, uri):
    assert locate(url).uri == uri


def test_an_unknown_protocol_is_refused():
    with pytest.raises(UsageError, match="'nosuch' is not a protocol"):
        locate("nosuch://bucket/key")


def test_unsigned_keeps_what_is_no_web_address():
    assert unsigned("s3://bucket/what?.wav") == "s3://bucket/what?.wav"


def test_only_one_creator_wins(tmp_path):
    location = locate(str(tmp_path / "deep" / "lock"))
    won = []

    def create(name: bytes) -> None:
        if location.create_bytes(name):
            won.append(name)

    threads = [threading.Thread(target=create, args=(bytes([65 + n]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [location.read_bytes()] == won
    assert os.listdir(tmp_path / "deep") == ["lock"]


@contextmanager
def full_disk() -> Iterator[None]:
    """Not a byte can be written to any file, pytest's own report included: for the shortest time."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_full_disk_keeps_from_being_created_is_not_there_half(tmp_path):
    with pytest.raises(MachineError, match="Could not create"), full_disk():
        locate(str(tmp_path / "one")).create_bytes(b"1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_only_one_creator_wins_too(tmp_path, monkeypatch, number):
    def refuse(*_: object) -> None:
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    location = locate(str(tmp_path / "one"))
    assert location.create_bytes(b"1")
    assert not location.create_bytes(b"2")
    assert location.read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_reader_sees_old_or_new_never_a_mixture(tmp_path):
    location = locate(str(tmp_path / "file"))
    contents = [bytes([n]) * 300_000 for n in range(20)]
    location.write_bytes(contents[0])
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(location.read_bytes())

    thread = threading.Thread(target=read)
    thread.start()
    for content in contents:
        location.write_bytes(content)
    done.set()
    thread.join()
    assert seen <= set(contents)


def test_publishing_shares_the_bytes_and_replaces_the_name(tmp_path):
    kept, public = locate(str(tmp_path / "kept")), locate(str(tmp_path / "public/file"))
    public.write_bytes(b"old")
    kept.write_bytes(b"new")
    kept.publish_to(public)
    kept.publish_to(public)
    assert public.read_bytes() == b"new"
    assert os.listdir(tmp_path / "public") == ["file"]
    kept.write_bytes(b"newer")
    assert public.read_bytes() == b"new"


def test_a_store_that_refuses_is_a_machine_error_that_says_what_was_done(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="Could not write file://"):
        locate(str(tmp_path / "file" / "below")).write_bytes(b"x")


def test_on_a_disk_the_version_is_not_asked(tmp_path):
    location = locate(str(tmp_path / "object"))
    assert location.etag() is None
    assert location.replace_bytes(b"one", None)
    assert location.replace_bytes(b"two", None)
    assert location.read_bytes() == b"two"
