"""Single objects on an S3 server: deleted one by one, replaced by whoever read them last, read whole or not at all."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import s3fs

from emosphere.errors import MachineError
from emosphere.store import explained, locate


@pytest.fixture
def methods(s3: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server was asked."""
    asked: list[str] = []
    real = s3fs.S3FileSystem._call_s3

    async def noting(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(method)
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", noting)
    return asked


def test_a_folder_is_deleted_object_by_object(s3: Any, methods: list[str]) -> None:
    names = [f"run/staging/part-{number:06d}" for number in range(40)] + ["run"]
    for name in [*names, "run.json", "running/part"]:
        s3.pipe_file(f"tables/deleted/{name}", b"x")
    folder = locate("s3://tables/deleted/run")
    methods.clear()
    folder.remove()
    assert sorted(methods) == ["delete_object"] * 41 + ["list_objects_v2"]
    assert s3.find("tables/deleted") == ["tables/deleted/run.json", "tables/deleted/running/part"]
    folder.remove()
    locate("s3://tables/deleted/run.json").remove()
    assert s3.find("tables/deleted") == ["tables/deleted/running/part"]
    assert "delete_objects" not in methods


def test_what_is_gone_is_deleted_by_both(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    location = locate("s3://tables/deleted-twice/object")
    location.write_bytes(b"x")
    listed = s3.find("tables/deleted-twice")
    s3.rm_file(location.path)
    monkeypatch.setattr(s3fs.S3FileSystem, "find", lambda *args, **kwargs: listed)
    location.remove()


def test_a_replaced_object_is_one_request_once_the_server_is_known(s3: Any, methods: list[str]) -> None:
    location = locate("s3://tables/known/object")
    for number in range(3):
        assert location.replace_bytes(b"x" * number, location.etag())
    etag = location.etag()
    methods.clear()
    assert location.replace_bytes(b"xyz", etag)
    assert methods == ["put_object"]
    assert not location.replace_bytes(b"abcd", etag)
    assert not location.create_bytes(b"abcd")
    assert location.read_bytes() == b"xyz"


def test_a_rewrite_after_another_goes_on_from_what_is_there(s3: Any) -> None:
    location = locate("s3://tables/rewritten/object")
    others = [b"b"]

    def append(data: bytes) -> Callable[[], bytes]:
        def make() -> bytes:
            before = location.read_bytes() if location.exists() else b""
            if others:
                location.write_bytes(before + others.pop())
            return before + data

        return make

    location.rewrite(append(b"c"), lambda: None)
    assert location.read_bytes() == b"bc"


def test_what_changes_while_it_is_read_is_told_in_words(s3: Any) -> None:
    """On a server that answers without a message, s3fs itself stumbles over it."""
    location = locate("s3://tables/changing/object")
    location.write_bytes(os.urandom(1 << 20))
    with s3.open(location.path, "rb", block_size=1 << 16) as file:
        file.read(10)
        location.write_bytes(os.urandom(1 << 20))
        file.seek(1 << 19)
        with pytest.raises(MachineError, match="Could not read it"), explained("read it"):
            file.read(10)
