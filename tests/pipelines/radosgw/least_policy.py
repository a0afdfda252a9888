"""The policies of docs/storage.md are enough, and the two together allow nothing beside them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import s3fs

from emosphere.errors import MachineError
from emosphere.store import Location, locate

PRINCIPAL = {"AWS": "arn:aws:iam:::user/plain"}
OUT = "s3://tables/emotion/tables"


@pytest.fixture(scope="module")
def plain(s3: Any, root: Path) -> dict[str, str]:
    """Environment of the server's second user, who may do what the page's policies say."""
    page = (root / "docs" / "storage.md").read_text(encoding="utf-8")
    # The page's archive is s3://calls, and its OUT s3://emotion/tables; the bucket of tests has OUT one folder down.
    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    statements = [statement for policy in policies for statement in policy["Statement"]]
    for bucket, documented in (("audio", "calls"), ("tables", "emotion")):
        text = json.dumps([one for one in statements if f":::{documented}" in json.dumps(one)])
        text = text.replace(f":::{documented}", f":::{bucket}").replace("tables/*", "emotion/tables/*")
        allowed = [one | {"Principal": PRINCIPAL} for one in json.loads(text)]
        assert len(allowed) == 2
        s3.call_s3(
            "put_bucket_policy", Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": allowed})
        )
    return os.environ | {
        "AWS_ACCESS_KEY_ID": os.environ["PLAIN_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["PLAIN_SECRET_ACCESS_KEY"],
    }


def emosphere(root: Path, plain: dict[str, str], *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "jobs", *words, "--json"]
    done = subprocess.run(command, cwd=root, env=plain, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_night_an_erasure_and_a_look_need_no_more(s3: Any, root: Path, plain: dict[str, str], archive: Path) -> None:
    s3.put(str(archive), "audio/night", recursive=True)
    scored = emosphere(root, plain, "score", "s3://audio/night", "--out", OUT)
    assert (scored["recordings"], scored["scored"]) == (6, 3)
    assert emosphere(root, plain, "score", "s3://audio/night", "--out", OUT)["skipped"] == 6
    s3.pipe_file("audio/night/a.wav", (archive / "b.flac").read_bytes())  # changed: its rows are replaced
    assert emosphere(root, plain, "score", "s3://audio/night", "--out", OUT)["skipped"] == 5
    erased = emosphere(root, plain, "erase", OUT, "--uri", "s3://audio/night/b.flac", "--verify")
    assert (erased["recordings"], erased["verified"]) == (1, True)
    found = {
        one["check"]: one["state"] for one in emosphere(root, plain, "doctor", "s3://audio/night", OUT)["findings"]
    }
    assert (found["archive"], found["out"], found["conditional writes"]) == ("ok", "ok", "ok")


def as_plain(plain: dict[str, str]) -> Any:
    return s3fs.S3FileSystem(
        use_listings_cache=False, key=plain["AWS_ACCESS_KEY_ID"], secret=plain["AWS_SECRET_ACCESS_KEY"]
    )


def test_it_allows_nothing_beside(s3: Any, plain: dict[str, str]) -> None:
    s3.pipe_file("tables/others", b"x")
    s3.pipe_file("audio/one.wav", b"x")
    filesystem = as_plain(plain)
    for path in ("tables/others", "tables/emotion/other", "audio/one.wav"):
        for attempt in (Location(filesystem, path).write_bytes, Location(filesystem, path).create_bytes):
            with pytest.raises(MachineError, match="Access refused"):
                attempt(b"x")
    with pytest.raises(PermissionError):
        filesystem.rm_file("tables/others")
    with pytest.raises(MachineError, match="Access refused"):
        Location(filesystem, "tables/others").read_bytes()


def test_a_condition_without_if_exists_is_named(s3: Any, plain: dict[str, str]) -> None:
    """With StringLike a HEAD of what is not there is refused: as if credentials were wrong."""
    policy = json.loads(s3.call_s3("get_bucket_policy", Bucket="tables")["Policy"])
    text = json.dumps(policy).replace("StringLikeIfExists", "StringLike")
    s3.call_s3("put_bucket_policy", Bucket="tables", Policy=text)
    try:
        with pytest.raises(MachineError, match=r"s3:prefix.*StringLikeIfExists.*docs/storage\.md"):
            Location(as_plain(plain), locate(f"{OUT}/none").path).etag()
    finally:
        s3.call_s3("put_bucket_policy", Bucket="tables", Policy=json.dumps(policy))
