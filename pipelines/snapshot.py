"""What ``emosphere sql`` reads: kept versions of the published files, all of one run or erasure at once."""

import json
from typing import Any

from emosphere.store import ABSENT, Location
from pipelines.ledger import HOME, Ledger, RunHeader, json_bytes

VERSIONS = f"{HOME}/tables"
"""Folder of the kept versions, below OUT."""


def version_path(path: str, label: str) -> str:
    """Where the version of a published file is kept that a run (its id) or an erasure made; both below OUT."""
    return f"{VERSIONS}/{path.removesuffix('.parquet')}.{label}.parquet"


def commit_snapshot(ledger: Ledger, header: RunHeader, replaced: dict[str, str]) -> None:
    """Point ``emosphere sql`` at all files of this run at once, and drop versions nobody can still be reading."""
    before = read_snapshot(ledger.out) or {"files": {}, "previous": {}}
    files = before["files"] | replaced
    previous = before["files"] if before.get("run_id") != header.run_id else before["previous"]
    write_snapshot(ledger, {"run_id": header.run_id, "files": files, "previous": previous})
    # A reader may still be on the snapshot before this one, not on an older one.
    for version in set(before["previous"].values()) - set(files.values()) - set(previous.values()):
        ledger.out.child(version).remove()


def read_snapshot(out: Location) -> dict[str, Any] | None:
    """The committed snapshot: published path -> kept version of it, both below OUT."""
    try:
        snapshot: dict[str, Any] = json.loads(Ledger(out).snapshot.read_bytes())
    except ABSENT:
        return None
    return snapshot


def write_snapshot(ledger: Ledger, snapshot: dict[str, Any]) -> None:
    """Let every reader that comes from now on see these files."""
    ledger.snapshot.write_bytes(json_bytes(snapshot))
