"""What ``emosphere sql`` reads: kept versions of the published files, all of one run or erasure at once."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.store import ABSENT, Location, tries
from pipelines.output.ledger import HOME, Ledger, json_bytes, parquet_bytes

VERSIONS = f"{HOME}/tables"
"""Folder of the kept versions, below OUT."""


HOLDER = b"holder"
"""Metadata of a published file: number of the holder that wrote it. No two holders write the same bytes, so that one
who slept meanwhile cannot mistake a later file for the one it read."""


def version_of(ledger: Ledger, path: str, label: str) -> str:
    """Where the version of a published file is kept that a run (its id) or an erasure makes; both below OUT."""
    return f"{VERSIONS}/{path.removesuffix('.parquet')}.{label}.{ledger.writing.number}.parquet"


def replace_published(ledger: Ledger, path: str, label: str, make: Callable[[Location], pa.Table | None]) -> str | None:
    """Replace a published file by what ``make`` makes of it, and keep that as a version, whose path is returned.

    None, and nothing written, where ``make`` gives None. Where a sleeper's write comes between, it is made anew; the
    store refuses one that comes later.
    """
    public, version, fence = ledger.out.child(path), version_of(ledger, path, label), ledger.writing
    for _ in tries(f"replace {public.uri}"):
        etag = public.etag()
        table = make(public)
        if table is None:
            return None
        table = table.replace_schema_metadata((table.schema.metadata or {}) | {HOLDER: str(fence.number).encode()})
        data = parquet_bytes(table, compression=_other_codec(public))
        if public.is_local:
            fence.create(ledger.out.child(version), data)
            ledger.out.child(version).publish_to(public, fence.held)
            return version
        fence.check()
        if public.replace_bytes(data, etag):
            fence.create(ledger.out.child(version), data)
            return version
    raise AssertionError("tries() ends with an error")


def _other_codec(public: Location) -> str:
    """The codec that the file there does not use.

    DuckDB opens a file twice within one query, and every reader of a store asks for footer and pages one by one. Who
    is caught between two versions reads pages of the new one by the footer of the old one, and would count rows that
    never stood together. In another codec they cannot be read: such a query fails, and can be asked again.
    """
    with contextlib.suppress(*ABSENT), public.fs.open(public.path, "rb") as file:
        footer = pq.ParquetFile(file).metadata
        if footer.num_row_groups and footer.row_group(0).column(0).compression == "ZSTD":
            return "snappy"
    return "zstd"


def commit_snapshot(ledger: Ledger, run_id: str, replaced: dict[str, str]) -> None:
    """Point ``emosphere sql`` at all files of this run at once, and drop versions nobody can still be reading."""
    pointed: set[str] = set()
    unread: set[str] = set()

    def change(before: dict[str, Any]) -> dict[str, Any]:
        files = before["files"] | replaced
        previous = before["files"] if before["run_id"] != run_id else before["previous"]
        # A reader may still be on the snapshot before this one, not on an older one.
        unread.update(before["previous"].values())
        pointed.update(files.values(), previous.values())
        return {"run_id": run_id, "files": files, "previous": previous}

    change_snapshot(ledger, change)
    for version in unread - pointed:
        ledger.writing.remove(ledger.out.child(version))


def change_snapshot(ledger: Ledger, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace the snapshot by what ``change`` makes of it, or of an empty one; it will bear our number."""

    def make() -> bytes:
        before = read_snapshot(ledger.out) or {"run_id": None, "files": {}, "previous": {}}
        return json_bytes(change(before) | {"holder": ledger.writing.number})

    ledger.writing.rewrite(ledger.snapshot, make)


def read_snapshot(out: Location) -> dict[str, Any] | None:
    """The committed snapshot: published path -> kept version of it, both below OUT."""
    try:
        snapshot: dict[str, Any] = json.loads(Ledger(out).snapshot.read_bytes())
    except ABSENT:
        return None
    return snapshot
