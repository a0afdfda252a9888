"""The one writer of an OUT: its lease, and the ledger that is opened with it once there is something to write."""

from dataclasses import replace
from types import TracebackType

from emosphere.errors import UsageError, Verdict
from emosphere.store import Location
from pipelines.output.fence import Held, Overtaken
from pipelines.output.forgotten import Forgotten, remember
from pipelines.output.lease import Holder, Lease, current
from pipelines.output.ledger import ERASING, Ledger
from pipelines.output.offers import check_offers
from pipelines.output.snapshot import VERSIONS, change_snapshot, read_snapshot

ENDS_CLEAN = (UsageError, Verdict, Held, Overtaken)
"""Errors of a command of which every write was answered."""


class Writer:
    """One command's right to write below OUT. A context manager: it is given up at the end.

    An OUT that nobody touched yet stays untouched until :meth:`open`.
    """

    def __init__(self, out: Location, work: str) -> None:
        """``work``: what the command does, for whoever meets it."""
        self.out = out
        self.ledger = Ledger(out)
        """Only reads before :meth:`open`."""
        self.lease = Lease(self.ledger.lease, work)
        self.unreleased: Holder | None = None
        """Who held the lease before and was not known to be dead when it was taken over: frozen, or cut off."""

    def __enter__(self) -> "Writer":
        """Take the lease at once where somebody might hold it."""
        latest = current(self.ledger.lease)
        if latest is not None and not latest.holder.released:
            self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(clean=error is None or isinstance(error, ENDS_CLEAN))

    def open(self) -> Ledger:
        """The ledger with the right to write; no matter if it is open already.

        Raises Held while another command is at work, MachineError where OUT lies on what does not keep two apart.
        """
        if self.ledger.fence is None:
            check_offers(self.out)
            self.ledger = replace(self.ledger, fence=self.lease.acquire())
            try:
                self._fence_off()
                self._sweep()
            except BaseException:
                self._close(clean=False)
                raise
        return self.ledger

    def _close(self, *, clean: bool) -> None:
        self.lease.release(clean=clean)
        self.ledger = Ledger(self.out)

    def _fence_off(self) -> None:
        """Make sure that no write of an earlier holder, which may still be on its way, finds what it read."""
        before = self.lease.predecessor
        if before is not None and not before.released and not before.is_dead_here:
            self.unreleased = before
        if before is not None and not (before.released and before.clean):
            self.ledger.change(lambda state: state)
            if read_snapshot(self.out) is not None:
                change_snapshot(self.ledger, lambda snapshot: snapshot)
            # An erasure that sleeps would otherwise add to it while what it names is being published.
            remember(self.ledger, Forgotten())
            for run_id in self.ledger.state().run_ids:
                self.ledger.renew_result(run_id)

    def _sweep(self) -> None:
        """Remove what dead or sleeping holders left, or wrote too late, and nobody reads: whole runs, parts that do not
        count, versions to which no snapshot points.
        """
        ledger, state = self.ledger, self.ledger.state()
        kept = {run_id: self._parts_of(run_id) for run_id in state.run_ids}
        runs = ledger.home.child("runs")
        for path in runs.files():
            run_id, _, name = path.removeprefix(f"{runs.path}/").partition("/")
            parts = kept.get(run_id, set())
            is_part = name.startswith(("plan/", "staging/"))
            if name and (run_id not in kept or (is_part and parts is not None and path not in parts)):
                ledger.writing.remove(Location(runs.fs, path))
        snapshot = read_snapshot(self.out) or {"files": {}, "previous": {}}
        pointed = {self.out.child(path).path for part in ("files", "previous") for path in snapshot[part].values()}
        erasing = self.ledger.home.child(state.erasing or "nothing").path
        for folder, read in ((self.out.child(VERSIONS), pointed), (ledger.home.child(ERASING), {erasing})):
            for path in folder.files():
                if path not in read:
                    ledger.writing.remove(Location(self.out.fs, path))

    def _parts_of(self, run_id: str) -> set[str] | None:
        """Paths of the parts of an unfinished run, planned and staged, that count; None where another version knows."""
        try:
            header = self.ledger.header(run_id)
        except UsageError:
            return None
        planned = () if header is None else (self.ledger.plan_file(header, part) for part in range(header.num_parts))
        return {file.path for file in (*planned, *self.ledger.staged_parts(run_id).values())}
