"""What ``emosphere sql`` reads: kept versions of the published files, all of one run or erasure at once."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.store import ABSENT, Location
from pipelines.output.ledger import HOME, Ledger, RunHeader, json_bytes, parquet_bytes

VERSIONS = f"{HOME}/tables"
"""Folder of the kept versions, below OUT."""


def version_path(path: str, label: str) -> str:
    """Where the version of a published file is kept that a run (its id) or an erasure made; both below OUT."""
    return f"{VERSIONS}/{path.removesuffix('.parquet')}.{label}.parquet"


def replace_published(
    ledger: Ledger, path: str, label: str, make: Callable[[Location], pa.Table | None], still_ours: Callable[[], None]
) -> str | None:
    """Replace a published file by what ``make`` makes of it, and keep that as a version, whose path is returned.

    None, and nothing written, where ``make`` gives None. ``still_ours`` is asked right before each write. Where the
    store can, the write itself is refused if the file has changed since ``make`` read it: then it is made anew.
    """
    public, version = ledger.out.child(path), version_path(path, label)
    while True:
        etag = public.etag()
        table = make(public)
        if table is None:
            return None
        data = parquet_bytes(table, compression=_other_codec(public))
        still_ours()
        ledger.out.child(version).write_bytes(data)
        still_ours()
        if public.is_local:
            ledger.out.child(version).publish_to(public)
            return version
        # Who slept since the last question is refused here by the store itself, if the file has changed meanwhile.
        if public.replace_bytes(data, etag):
            return version
        still_ours()


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


def commit_snapshot(
    ledger: Ledger, header: RunHeader, replaced: dict[str, str], still_ours: Callable[[], None]
) -> None:
    """Point ``emosphere sql`` at all files of this run at once, and drop versions nobody can still be reading."""
    pointed: set[str] = set()
    unread: set[str] = set()

    def make() -> bytes:
        before = read_snapshot(ledger.out) or {"files": {}, "previous": {}}
        files = before["files"] | replaced
        previous = before["files"] if before.get("run_id") != header.run_id else before["previous"]
        # A reader may still be on the snapshot before this one, not on an older one.
        unread.update(before["previous"].values())
        pointed.update(files.values(), previous.values())
        return json_bytes({"run_id": header.run_id, "files": files, "previous": previous})

    ledger.snapshot.rewrite(make, still_ours)
    for version in unread - pointed:
        still_ours()
        ledger.out.child(version).remove()


def read_snapshot(out: Location) -> dict[str, Any] | None:
    """The committed snapshot: published path -> kept version of it, both below OUT."""
    try:
        snapshot: dict[str, Any] = json.loads(Ledger(out).snapshot.read_bytes())
    except ABSENT:
        return None
    return snapshot
