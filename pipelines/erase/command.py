"""Take recordings out of everything below OUT, for good."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pyarrow as pa

from emosphere.errors import UsageError, Verdict
from emosphere.store import ABSENT, Location, locate
from pipelines.cluster.scratch import sweep_scratch
from pipelines.erase.proof import remains
from pipelines.erase.target import Matches, Target, find_recordings
from pipelines.output.erasure import begin_erasing, finish_erasing, is_below
from pipelines.output.forgotten import FILE, remember
from pipelines.output.ledger import HOME, Ledger, json_bytes, parquet_bytes, parquet_files, read_parquet
from pipelines.output.state import FILE as STATE_FILE
from pipelines.output.writer import Writer
from pipelines.score.publish.finish import finish_publishing

ERASED = "erased"
"""What stands in place of a name in what is kept of a run."""


class Remains(Verdict):
    """Something of what was erased is still there; ``result`` says where."""


def erase(out: str, target: Target, *, verify: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Remove every row of the target's recordings from every table and file below OUT; see docs/privacy-and-law.md.

    Erased recordings are remembered by id and not scored again. Raises Held while a run is at work there, Remains if
    ``verify`` finds anything. ``unreleased`` in the result names a command that stood still when its place was taken.
    """
    location = locate(out)
    if not any(location.child(folder).files() for folder in ("recordings", HOME)):
        raise UsageError(f"{location.uri}: no tables there, so nothing to erase.")
    if dry_run:
        return _result(location, find_recordings(location, target)) | {"dry_run": True}
    sweep_scratch()
    with Writer(location, "emosphere erase") as writer:
        ledger = writer.open()
        finish_erasing(writer)
        # A run that died, or sleeps, while it was published: what it was about to write is written, then erased.
        finish_publishing(writer)
        matches = find_recordings(location, target)
        # Remembered first: from here on no run would bring them back.
        remember(ledger, matches.forgotten)
        # Then what is named in words, as long as the rows still tell the names.
        _remove_names(ledger, matches)
        # Also if there is nothing: parts that are staged later by who sleeps now must not count.
        begin_erasing(ledger, matches.ids)
        finish_erasing(writer)
        result = _result(location, matches) | {"dry_run": False, "verified": None}
        if verify:
            left = list(remains(location, matches, target.speaker))
            result |= {"verified": not left, "remains": left}
        if sleepers := ledger.state().sleepers:
            result["unreleased"] = _warning(ledger, sleepers)
            ledger.change(lambda state: replace(state, sleepers=()))
        if verify and result["remains"]:
            left = result["remains"]
            raise Remains(f"{len(left)} files still hold something of it: {', '.join(left[:5])}.", result)
    return result


def _result(out: Location, matches: Matches) -> dict[str, Any]:
    return {
        "recordings": len(matches.ids_with_rows),
        "segments": matches.num_segments,
        "out": out.path if out.is_local else out.uri,
    }


def _warning(ledger: Ledger, sleepers: tuple[str, ...]) -> str:
    """What commands that did not end by themselves may still do."""
    if ledger.out.is_local:
        return (
            f"Overtaken while standing still: {'; '.join(sleepers)}. Who wakes writes nothing more here, unless OUT "
            "lies on a network file system from which it was cut off. End it all the same."
        )
    return (
        f"Overtaken, or ended with a write unanswered: {'; '.join(sleepers)}. What was sent may still reach the store, "
        "under a name that nobody reads; the next command that writes here removes it. End whatever of it still lives, "
        "then erase again for a proof of that too."
    )


def _remove_names(ledger: Ledger, matches: Matches) -> None:
    """Take the names out of what is kept of runs: what was scored (``archives``), and errors."""
    others = {ledger.snapshot.path, *(ledger.home.child(name).path for name in (FILE, STATE_FILE))}
    for path in ledger.home.files():
        if path.endswith(".json") and path not in others and not is_below(ledger.lease, path):
            location = Location(ledger.home.fs, path)
            with contextlib.suppress(*ABSENT):  # of somebody who reads here, and is done
                before = json.loads(location.read_bytes())
                after = _nameless(before, matches)
                if after != before:
                    ledger.writing.write(location, json_bytes(after))
    for location in parquet_files(ledger.out.child("runs")):
        table = read_parquet(location)
        before = table.to_pylist()
        after = [{name: _nameless_text(value, matches) for name, value in row.items()} for row in before]
        if after != before:
            ledger.writing.write(location, parquet_bytes(pa.Table.from_pylist(after, schema=table.schema)))


def _nameless(value: Any, matches: Matches) -> Any:
    if isinstance(value, dict):
        return {name: _nameless(inner, matches) for name, inner in value.items()}
    if isinstance(value, list):
        return [_nameless(inner, matches) for inner in value]
    return ERASED if isinstance(value, str) and matches.are_named_in(value) else value


def _nameless_text(value: Any, matches: Matches) -> Any:
    if not isinstance(value, str) or not matches.are_named_in(value):
        return value
    with contextlib.suppress(ValueError):
        return json.dumps(_nameless(json.loads(value), matches))
    return ERASED
