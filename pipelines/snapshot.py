"""What ``emosphere sql`` reads: kept versions of the published files, all of one run or erasure at once."""

import json
from typing import Any

from emosphere.store import ABSENT, Location
from pipelines.ledger import Ledger, RunHeader


def commit_snapshot(ledger: Ledger, header: RunHeader, replaced: dict[str, str]) -> None:
    """Point ``emosphere sql`` at all files of this run at once, and drop versions nobody can still be reading."""
    pointer = ledger.home.child("snapshot.json")
    before = read_snapshot(ledger.out) or {"files": {}, "previous": {}}
    files = before["files"] | replaced
    previous = before["files"] if before.get("run_id") != header.run_id else before["previous"]
    pointer.write_bytes(
        json.dumps({"run_id": header.run_id, "files": files, "previous": previous}, sort_keys=True, indent=1).encode()
    )
    # A reader may still be on the snapshot before this one, not on an older one.
    for version in set(before["previous"].values()) - set(files.values()) - set(previous.values()):
        ledger.out.child(version).remove()


def read_snapshot(out: Location) -> dict[str, Any] | None:
    """The committed snapshot: published path -> kept version of it, both below OUT."""
    try:
        snapshot: dict[str, Any] = json.loads(out.child("_emosphere", "snapshot.json").read_bytes())
    except ABSENT:
        return None
    return snapshot
