"""Every fence, broken by hand: random schedules must find that it is missing.

python -m tests.schedules.breaks [--count 2000] [--store disk|memory] [NAME ...]
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from emosphere.store import Location
from emosphere.store import s3 as stored
from emosphere.store.disk import Within
from pipelines.doctor import command as doctoring
from pipelines.erase import command as erasing
from pipelines.output import erasure, lease, snapshot, writer
from pipelines.output.fence import Fence
from pipelines.output.forgotten import Forgotten
from pipelines.output.ledger import Ledger
from pipelines.output.state import State
from pipelines.score.publish import finish, fold
from pipelines.score.publish import replace as publishing
from tests.schedules.many import play_many

Break = Callable[[pytest.MonkeyPatch], None]


def nothing(*args: Any, **options: Any) -> None:
    """In place of what is left out."""


def no_check(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks before a write whether somebody took its place."""
    patch.setattr(Fence, "check", nothing)


def no_lock(patch: pytest.MonkeyPatch) -> None:
    """On a disk, the question and the write are two steps."""

    @contextlib.contextmanager
    def unlocked(home: Location) -> Iterator[None]:
        yield

    for module in (sys.modules["pipelines.output.fence"], lease):
        patch.setattr(module, "locked", unlocked)


def no_number_in_parts(patch: pytest.MonkeyPatch) -> None:
    """Parts of a plan and of what was scored have the same name, whoever writes them."""
    real = Ledger._part
    patch.setattr(Ledger, "_part", lambda self, run_id, kind, part, number: real(self, run_id, kind, part, 0))


def no_number_in_versions(patch: pytest.MonkeyPatch) -> None:
    """Kept versions have the same name, whoever writes them."""

    def version_of(ledger: Ledger, path: str, label: str) -> str:
        return f"{snapshot.VERSIONS}/{path.removesuffix('.parquet')}.{label}.parquet"

    for module in (snapshot, erasure):
        patch.setattr(module, "version_of", version_of)


def creates_over(patch: pytest.MonkeyPatch) -> None:
    """What is only to be created is written over what is there."""

    def create_bytes(location: Location, data: bytes, within: Within = contextlib.nullcontext) -> bool:
        location.write_bytes(data, within)
        return True

    patch.setattr(Location, "create_bytes", create_bytes)
    patch.setattr(doctoring, "offers", lambda out: [])  # which would find it at once


def no_condition(patch: pytest.MonkeyPatch) -> None:
    """On S3, what was read is replaced whatever it is by then."""

    def write(fs: Any, path: str, data: bytes, etag: str | None) -> bool:
        fs.pipe_file(path, data)
        return True

    patch.setattr(stored, "replace", write)
    patch.setattr(doctoring, "offers", lambda out: [])  # which would find it at once


def no_fencing_off(patch: pytest.MonkeyPatch) -> None:
    """Who takes over leaves the registers as they were: a sleeper finds what it read."""
    patch.setattr(writer.Writer, "_fence_off", nothing)


def says_clean(patch: pytest.MonkeyPatch) -> None:
    """Who ends without an answer to its last write says that all were answered."""
    real = lease.Lease.release
    patch.setattr(lease.Lease, "release", lambda self, clean=True: real(self))


def no_holder_in_files(patch: pytest.MonkeyPatch) -> None:
    """Two holders may write the same bytes into a published file."""
    patch.setattr(snapshot, "HOLDER", b"same")
    patch.setattr(snapshot, "str", lambda number: "0", raising=False)


def no_count_of_changes(patch: pytest.MonkeyPatch) -> None:
    """The state may come to the same bytes twice."""
    real = State.__init__
    patch.setattr(State, "__init__", lambda self, **fields: real(self, **fields | {"change": 0, "number": 0}))


def no_roll_forward_by_erase(patch: pytest.MonkeyPatch) -> None:
    """An erasure does not end the publishing that somebody died over."""
    patch.setattr(erasing, "finish_publishing", nothing)


def no_roll_forward(patch: pytest.MonkeyPatch) -> None:
    """Nobody ends the publishing that somebody died over."""
    from pipelines.score import command as scoring

    for module in (erasing, scoring):
        patch.setattr(module, "finish_publishing", nothing)


def no_files_in_marker(patch: pytest.MonkeyPatch) -> None:
    """Who ends a publishing writes what it finds to write, not all that was about to be written."""
    real = Ledger.mark_publishing
    patch.setattr(Ledger, "mark_publishing", lambda self, run_id, files: real(self, run_id, set()))


def folds_what_was_erased(patch: pytest.MonkeyPatch) -> None:
    """Folding does not ask what was erased."""
    patch.setattr(fold, "read_forgotten", lambda home: Forgotten())


def takes_every_staged_part(patch: pytest.MonkeyPatch) -> None:
    """A part counts though the last erasure never saw it."""
    real = Ledger.staged_parts
    patch.setattr(
        Ledger,
        "staged_parts",
        lambda self, run_id, state=None: real(self, run_id, replace(state or self.state(), erased=0)),
    )


def takes_every_part_of_what_was_erased(patch: pytest.MonkeyPatch) -> None:
    """Both of the last two."""
    folds_what_was_erased(patch)
    takes_every_staged_part(patch)


def no_sweep(patch: pytest.MonkeyPatch) -> None:
    """What sleepers leave, or write too late, stays."""
    patch.setattr(writer.Writer, "_sweep", nothing)


def recordings_first(patch: pytest.MonkeyPatch) -> None:
    """A recording's row is published before its segments."""
    for module in (fold, publishing):
        patch.setattr(module, "FOLDED_TABLES", ("recordings", "segments"))


def erases_unmarked(patch: pytest.MonkeyPatch) -> None:
    """Nobody ends an erasure that somebody died over."""
    real = erasing.begin_erasing

    def begin(ledger: Ledger, ids: frozenset[str]) -> None:
        real(ledger, ids)

    def finish(writer_: Any) -> None:
        if writer_.lease.work == "emosphere erase":
            erasure.finish_erasing(writer_)

    from pipelines.score import command as scoring

    patch.setattr(erasing, "begin_erasing", begin)
    patch.setattr(scoring, "finish_erasing", finish)


def ends_before_the_row(patch: pytest.MonkeyPatch) -> None:
    """A run is over before its row and its result are written."""

    def publish_run(ledger: Ledger, header: Any, folded: Any, began: float) -> dict[str, Any]:
        publishing.publish(ledger, header, folded)
        result = finish.result_of(header, folded, ledger.out, 0.0)
        ledger.end(header)
        publishing.write_run_row(ledger, header, result, finish.host_facts())
        ledger.write_result(header.run_id, result | {"exit_code": 0})
        return result

    from pipelines.score import command as scoring

    patch.setattr(finish, "publish_run", publish_run)
    patch.setattr(scoring, "publish_run", publish_run)


def results_as_they_were(patch: pytest.MonkeyPatch) -> None:
    """Who takes over does not renew what was reported of unfinished runs."""
    patch.setattr(Ledger, "renew_result", nothing)


def erases_snapshot_last(patch: pytest.MonkeyPatch) -> None:
    """Versions that readers are pointed at are removed before they are pointed elsewhere."""
    real = snapshot.change_snapshot

    def change(ledger: Ledger, make: Any) -> None:
        before = snapshot.read_snapshot(ledger.out)
        for version in (before or {"previous": {}})["previous"].values():
            ledger.writing.remove(ledger.out.child(version))
        real(ledger, make)

    patch.setattr(snapshot, "change_snapshot", change)


BREAKS: dict[str, Break] = {
    breaking.__name__: breaking
    for breaking in (
        no_check, no_lock, no_number_in_parts, no_number_in_versions, creates_over, no_condition, no_fencing_off,
        says_clean, no_holder_in_files, no_count_of_changes, no_roll_forward_by_erase, no_roll_forward,
        no_files_in_marker, folds_what_was_erased, takes_every_staged_part, takes_every_part_of_what_was_erased,
        no_sweep, recordings_first, erases_unmarked, ends_before_the_row, results_as_they_were, erases_snapshot_last,
    )
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["disk", "memory"], default="disk")
    parser.add_argument("--sweep", action="store_true", help="one command stopped wherever it can stand")
    parser.add_argument("names", nargs="*", default=list(BREAKS))
    given = parser.parse_args()
    missed = 0
    for name in given.names:
        began = time.process_time()
        with pytest.MonkeyPatch.context() as patch:
            BREAKS[name](patch)
            outcome = play_many(given.store, given.seed, range(given.count), 1, in_order=given.sweep)
        seconds = time.process_time() - began
        words = (BREAKS[name].__doc__ or "").strip().partition("\n")[0]
        if outcome.found:
            [one] = outcome.found
            first = one.words.splitlines()[0][:90]
            print(f"| {name} | {words} | {given.store} | {one.number + 1} | {first} | {seconds:.0f} |")
            print(f"    {one.schedule!r}", flush=True)
        else:
            missed += 1
            print(f"| {name} | {words} | {given.store} | NOT FOUND in {given.count} | | {seconds:.0f} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    if "PYTHONHASHSEED" not in os.environ:
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.schedules.breaks", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )  # fmt: skip
    sys.exit(main())
