"""The header of a run as tests need it: everything that a run is known by, and nothing counted yet."""

from typing import Any

from emosphere.store import Location
from pipelines.output.lease import Lease
from pipelines.output.ledger import Ledger, RunHeader


def run_header(**changes: Any) -> RunHeader:
    """A header whose fields say only their names, but for ``changes``."""
    fields: dict[str, Any] = {
        "run_id": "run",
        "key": "key",
        "dt": "2026-11-20",
        "started_at": "2026-11-20T00:00:00+00:00",
        "model_name": "m",
        "model_digest": "d",
        "model_licence": "l",
        "settings_digest": "s",
        "config": {},
        "archives": [],
        "purpose": None,
        "roles": {},
    }
    return RunHeader(**fields | changes)


def open_ledger(out: Location) -> Ledger:
    """A ledger that may write until somebody else takes the lease, which is free."""
    lease = Lease(Ledger(out).lease, "a test")
    fence = lease.acquire()
    lease.release()
    return Ledger(out, fence)


def begun_ledger(out: Location, header: RunHeader) -> Ledger:
    """The same, with a run that has no plan yet."""
    ledger = open_ledger(out)
    ledger.begin(header)
    return ledger
