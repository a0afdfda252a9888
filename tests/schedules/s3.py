"""OUT on S3: a simulated process stops at every request that changes something, and any request may go astray.

The S3 client is the real one down to its last call; what answers is a server of this process's own memory, or a real
server over HTTP.
"""

import asyncio
import datetime
import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiobotocore.client
import fsspec.asyn
import fsspec.spec
import pytest
import s3fs
import s3fs.core
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.schedules import patches
from tests.schedules.patches import Shim
from tests.schedules.simulator import Late, check_alive, current

BUCKET, PREFIX = "tables", "out/"
ACTIONS = {"PutObject": "put", "DeleteObject": "delete", "DeleteObjects": "delete", "CopyObject": "copy"}
"""Requests that change something."""
READS = {
    "GetObject", "HeadObject", "ListObjectsV2", "ListObjects", "HeadBucket", "ListBuckets", "GetBucketEncryption",
    "GetBucketVersioning", "ListObjectVersions",
}  # fmt: skip
Serve = Callable[[str, dict[str, Any]], dict[str, Any]]

_real_call = aiobotocore.client.AioBaseClient._make_api_call
_real_sync = fsspec.asyn.sync


class S3:
    """A bucket, and everything that changes it."""

    out = f"s3://{BUCKET}/{PREFIX.rstrip('/')}"

    def __init__(self, serve: Serve | None = None) -> None:
        """``serve`` answers requests; without it the server of the environment does."""
        self._serve = serve

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patches.read_at_once(patch, s3fs.S3FileSystem)
        serve = self._serve
        if serve is not None:
            for name, value in {
                "AWS_ENDPOINT_URL": "http://memory.invalid",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
            }.items():
                patch.setenv(name, value)

        async def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            if current() is not None:
                return await _call(serve, client, operation, parameters)
            if serve is None:
                return await _real_call(client, operation, parameters)
            return serve(operation, dict(parameters))

        patch.setattr(aiobotocore.client.AioBaseClient, "_make_api_call", call)
        for module in (fsspec.asyn, s3fs.core):
            patch.setattr(module, "sync", _sync)
        # One client for all: a new thread would make one of its own, which takes longer than a whole schedule.
        import threading

        patch.setattr(fsspec.spec, "threading", Shim(threading, get_ident=lambda: 0))
        s3fs.S3FileSystem.clear_instance_cache()
        self.fs = s3fs.S3FileSystem(use_listings_cache=False)
        self.fs.connect()
        if not self.fs.exists(BUCKET):
            self.fs.mkdir(BUCKET)

    def below(self, path: str) -> str | None:
        """A path below OUT, where it is one."""
        prefix = f"{BUCKET}/{PREFIX}"
        return path.removeprefix(prefix) if path.startswith(prefix) else None

    def reset(self, files: dict[str, bytes]) -> None:
        """Empty OUT, then put ``files`` there."""
        for path in self.fs.find(f"{BUCKET}/{PREFIX}"):
            self.fs.rm_file(path)
        for path, data in files.items():
            self.fs.pipe_file(f"{BUCKET}/{PREFIX}{path}", data)

    def files(self) -> dict[str, Any]:
        """What lies below OUT, by path; the value changes with the content."""
        found = self.fs.find(f"{BUCKET}/{PREFIX}", detail=True)
        return {path.removeprefix(f"{BUCKET}/{PREFIX}"): info["ETag"] for path, info in found.items()}

    def read(self, path: str) -> bytes:
        return self.fs.cat_file(f"{BUCKET}/{PREFIX}{path}")


class MemoryS3(S3):
    """The same with a server in memory: thousands of requests a second."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        super().__init__(self.server)

    def reset(self, files: dict[str, bytes]) -> None:
        self.server.objects = {f"{PREFIX}{path}": Stored.of(data) for path, data in files.items()}

    def files(self) -> dict[str, Any]:
        return {key.removeprefix(PREFIX): stored.etag for key, stored in self.server.objects.items()}

    def read(self, path: str) -> bytes:
        return self.server.objects[PREFIX + path].data


def _sync(loop: Any, function: Callable[..., Any], *args: Any, timeout: Any = None, **options: Any) -> Any:
    """Run what a simulated process asks for in its own thread, at one go: nothing in it has to be waited for."""
    if current() is None:
        return _real_sync(loop, function, *args, timeout=timeout, **options)
    check_alive()
    coroutine = function(*args, **options)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        check_alive()
        coroutine.close()
    raise NotImplementedError(f"{function} waits for several requests at once")


async def _call(serve: Serve | None, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    process = current().process
    simulation = process.simulation
    parameters = dict(parameters)
    check_alive()
    if operation not in ACTIONS:
        assert operation in READS, operation
        if process.is_cut_off:
            raise _no_answer()
        return _answer(serve, client, operation, parameters)
    for path in _paths(parameters):
        fate = simulation.stop_before(ACTIONS[operation], path)
    late = Late(
        f"{process.name} {ACTIONS[operation]} {path}",
        lambda: _deliver(serve, client, operation, parameters, simulation),
    )
    if fate == "late" or (process.is_cut_off and fate != "lost"):
        simulation.late.append(late)
        raise _no_answer()
    if fate == "lost":
        raise _no_answer()
    if fate == "twice":
        simulation.late.append(late)
    answer = _answer(serve, client, operation, parameters)
    for path in _paths(parameters):
        simulation.stop_after(ACTIONS[operation], path)
    if fate == "unanswered":
        raise _no_answer()
    return answer


def _paths(parameters: dict[str, Any]) -> list[str]:
    keys = [one["Key"] for one in parameters["Delete"]["Objects"]] if "Delete" in parameters else [parameters["Key"]]
    return [key.removeprefix(PREFIX) for key in keys]


def _answer(serve: Serve | None, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    if serve is not None:
        return serve(operation, parameters)
    return asyncio.run_coroutine_threadsafe(
        _call_and_read(client, operation, parameters), fsspec.asyn.get_loop()
    ).result()


async def _call_and_read(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    answer = await _real_call(client, operation, parameters)
    if "Body" in answer:
        answer["Body"] = _Body(await answer["Body"].read())
    return answer


def _deliver(serve: Serve | None, client: Any, operation: str, parameters: dict[str, Any], simulation: Any) -> None:
    """A request arrives at last: whether its condition holds is seen now."""
    try:
        if serve is not None:
            serve(operation, parameters)
        else:
            _real_sync(fsspec.asyn.get_loop(), _call_and_read, client, operation, parameters)
    except ClientError as error:
        simulation.trace.append(f"    refused: {error}")
        return
    simulation.changed += _paths(parameters)


def _no_answer() -> Exception:
    return ReadTimeoutError(endpoint_url=os.environ.get("AWS_ENDPOINT_URL", "http://memory.invalid"))


class _Body:
    """The content of an answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, amount: int | None = None) -> bytes:
        data, self._data = (self._data, b"") if amount is None else (self._data[:amount], self._data[amount:])
        return data

    def close(self) -> None:
        pass

    async def __aenter__(self) -> "_Body":
        return self

    async def __aexit__(self, *error: object) -> None:
        pass


@dataclass(frozen=True)
class Stored:
    """An object of the server in memory."""

    data: bytes
    etag: str

    @classmethod
    def of(cls, data: bytes) -> "Stored":
        return cls(data, f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"')


class MemoryServer:
    """As much of S3 as tables need, with the conditions of AWS: create only, replace and delete by ETag."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}

    def __call__(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Raises ClientError as S3 would."""
        fail = functools.partial(_refuse, operation)
        key = parameters.get("Key", "")
        there = self.objects.get(key)
        if operation == "PutObject":
            self._check_condition(fail, there, parameters)
            body = parameters["Body"]
            stored = self.objects[key] = Stored.of(bytes(body if isinstance(body, bytes | bytearray) else body.read()))
            return _found({"ETag": stored.etag})
        if operation == "DeleteObject":
            if "IfMatch" in parameters and there is not None:
                self._check_condition(fail, there, parameters)
            self.objects.pop(key, None)
            return _found({})
        if operation == "DeleteObjects":
            for one in parameters["Delete"]["Objects"]:
                self.objects.pop(one["Key"], None)
            return _found({"Deleted": [{"Key": one["Key"]} for one in parameters["Delete"]["Objects"]]})
        if operation in ("HeadObject", "GetObject"):
            if there is None:
                raise fail("404" if operation == "HeadObject" else "NoSuchKey", 404)
            return self._object(fail, there, parameters, with_body=operation == "GetObject")
        if operation == "ListObjectsV2":
            return self._list(parameters)
        if operation in ("HeadBucket", "CreateBucket"):
            return _found({})
        if operation == "ListBuckets":
            return _found({"Buckets": [{"Name": BUCKET, "CreationDate": _LONG_AGO}]})
        if operation == "GetBucketVersioning":
            return _found({})
        if operation == "GetBucketEncryption":
            raise fail("ServerSideEncryptionConfigurationNotFoundError", 404)
        raise NotImplementedError(operation)

    def _check_condition(self, fail: Any, there: Stored | None, parameters: dict[str, Any]) -> None:
        if parameters.get("IfNoneMatch") == "*" and there is not None:
            raise fail("PreconditionFailed", 412)
        wanted = parameters.get("IfMatch")
        if wanted is None:
            return
        if there is None:
            raise fail("NoSuchKey", 404)
        if wanted.strip('"') != there.etag.strip('"'):
            raise fail("PreconditionFailed", 412)

    def _object(self, fail: Any, there: Stored, parameters: dict[str, Any], *, with_body: bool) -> dict[str, Any]:
        data, answer = there.data, {"ETag": there.etag, "LastModified": _LONG_AGO, "ContentType": "binary/octet-stream"}
        if with_body and "IfMatch" in parameters:
            self._check_condition(fail, there, parameters)
        if with_body and (wanted := parameters.get("Range")):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            stop = int(last) + 1 if last else len(data)
            begin = int(first) if first else max(0, len(data) - int(last))
            data = data[begin : stop if first else len(data)]
        if with_body:
            answer["Body"] = _Body(data)
        return _found(answer | {"ContentLength": len(data)})

    def _list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        prefix, delimiter = parameters.get("Prefix") or "", parameters.get("Delimiter") or ""
        contents, folders = [], set()
        for key in sorted(self.objects):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            stored = self.objects[key]
            contents.append(
                {"Key": key, "ETag": stored.etag, "Size": len(stored.data), "LastModified": _LONG_AGO,
                 "StorageClass": "STANDARD"}
            )  # fmt: skip
        answer = {"IsTruncated": False, "KeyCount": len(contents), "Name": BUCKET, "Prefix": prefix}
        if contents:
            answer["Contents"] = contents[: parameters.get("MaxKeys") or 1000]
        if folders:
            answer["CommonPrefixes"] = [{"Prefix": one} for one in sorted(folders)]
        return _found(answer)


_LONG_AGO = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def _found(answer: dict[str, Any]) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {}}, **answer}


def _refuse(operation: str, code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )
