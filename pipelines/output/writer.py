"""The one writer of an OUT: its lease, and the ledger that is opened with it once there is something to write."""

from dataclasses import replace
from types import TracebackType

from emosphere.errors import EmosphereError, UsageError, Verdict
from emosphere.store import Location
from pipelines.output.fence import Held, Overtaken
from pipelines.output.forgotten import Forgotten, remember
from pipelines.output.lease import Lease, current
from pipelines.output.ledger import ERASING, Ledger
from pipelines.output.offers import check_offers
from pipelines.output.snapshot import VERSIONS, change_snapshot, read_snapshot
from pipelines.output.state import Begun, State

ENDS_CLEAN = (Verdict, Held, Overtaken)
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

    def __enter__(self) -> "Writer":
        """Take the lease at once where somebody might hold it."""
        latest = current(self.ledger.lease)
        if latest is not None and not latest.holder.released:
            self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fence = self.ledger.fence
        self._close(clean=error is None or isinstance(error, ENDS_CLEAN))
        if fence is not None and isinstance(error, Exception) and not isinstance(error, ENDS_CLEAN):
            # Whatever it stumbled over, a run that another has ended perhaps: if it was overtaken, that is why.
            try:
                fence.check()
            except Overtaken as reason:
                raise reason from error
            except EmosphereError:  # the store is what broke
                pass

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
        if before is None or (before.released and before.clean):
            return
        # On a disk the dead write nothing more. In a store what they sent may arrive, and a worker of theirs may live.
        is_gone = self.out.is_local and (before.released or before.is_dead_here)
        sleeper = () if is_gone else (str(before),)
        self.ledger.change(lambda state: replace(state, sleepers=(*state.sleepers, *sleeper)))
        # Where none is, the publishing of an earlier holder may be about to create it.
        if read_snapshot(self.out) is not None or self.ledger.state().publishing:
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
        kept = {begun.run_id: self._files_of(begun, state) for begun in state.unfinished.values()}
        runs, rubbish = ledger.home.child("runs"), list[str]()
        for path in runs.files():
            run_id, _, name = path.removeprefix(f"{runs.path}/").partition("/")
            files = kept.get(run_id, set())
            if name and files is not None and path not in files:
                rubbish.append(path)
        snapshot = read_snapshot(self.out) or {"files": {}, "previous": {}}
        pointed = {self.out.child(path).path for part in ("files", "previous") for path in snapshot[part].values()}
        pointed.add(ledger.home.child(state.erasing or "nothing").path)
        for folder in (self.out.child(VERSIONS), ledger.home.child(ERASING)):
            rubbish += [path for path in folder.files() if path not in pointed]
        if rubbish:
            ledger.writing.remove_files(ledger.home, rubbish)

    def _files_of(self, begun: Begun, state: State) -> set[str] | None:
        """Paths of an unfinished run that count; None where another version knows which."""
        try:
            return self.ledger.files_of(begun, state)
        except UsageError:
            return None
