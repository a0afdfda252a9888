"""From folded rows to a closed run: the tables, the snapshot, the run's row and result; after a death too."""

import logging
import time
from typing import Any

from pipelines.cluster.host import host_facts
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.output.writer import Writer
from pipelines.score.publish.fold import Folded, fold_run
from pipelines.score.publish.replace import publish, write_run_row
from pipelines.score.publish.result import result_of

log = logging.getLogger("emosphere")


def publish_run(ledger: Ledger, header: RunHeader, folded: Folded, began: float) -> dict[str, Any]:
    """Put the run's rows into the tables and end it; its result, with the time (monotonic, seconds) since ``began``."""
    publish(ledger, header, folded)
    result = result_of(header, folded, ledger.out, time.monotonic() - began)
    write_run_row(ledger, header, result, host_facts())
    ledger.write_result(header.run_id, result | {"exit_code": 0})
    ledger.end(header)
    return result


def finish_publishing(writer: Writer) -> tuple[RunHeader, dict[str, Any]] | None:
    """End the publishing of a run that died in the middle of it, whichever command it was; its header and result.

    Until then the tables hold segments without their recordings; another run on top would make that permanent.
    """
    if writer.ledger.state().publishing is None:
        return None
    began = time.monotonic()
    ledger = writer.open()
    header = ledger.publishing()
    if header is None:
        return None
    writer.lease.work = f"run {header.run_id}"
    log.info("run %s died while publishing; finishing that first", header.run_id)
    with fold_run(ledger, header) as folded:
        return header, publish_run(ledger, header, folded, began)
