"""Plans and scores an archive in this process, one actor, without a driver."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from emosphere.errors import MachineError
from emosphere.model.description import describe_checkpoint
from emosphere.model.find import BUNDLED
from emosphere.store import Location, locate
from pipelines.archive.dates import Window
from pipelines.archive.listing import list_archives
from pipelines.cluster.resources import Pool
from pipelines.output.ledger import Ledger, RunHeader, read_parquet
from pipelines.score.plan.choose import Choice
from pipelines.score.plan.cut import write_plan
from pipelines.score.run.actor import ScoreParts
from pipelines.score.settings import ScoreSettings
from tests.pipelines.headers import begun_ledger, open_ledger, run_header

POOL = Pool(size=1, num_cpus=1, num_gpus=0, cores=1, decoders=2, lanes=1)


def planned(archive: Path, out: Location, settings: ScoreSettings, **header_fields: Any) -> RunHeader:
    """The plan of one run of the bundled model, in the ledger at ``out``."""
    header = run_header(**{"model_digest": describe_checkpoint(BUNDLED).digest} | header_fields)
    with Choice() as choice:
        choice.take(list_archives([str(archive)], out=out), window=Window())
        choice.leave_out_finished([], "s")
        return write_plan(
            begun_ledger(out, header), header, choice.batches(by_size=settings.plan.score_duplicates_once), settings,
            num_recordings=choice.chosen, num_bytes=choice.num_bytes,
        )  # fmt: skip


def staged(
    archive: Path, folder: Path, settings: ScoreSettings | None = None, pool: Pool = POOL, **header_fields: Any
) -> dict[str, dict]:
    """Score an archive; staged rows by file name."""
    settings, out = settings or ScoreSettings(), locate(str(folder))
    header = planned(archive, out, settings, **header_fields)
    ledger = open_ledger(out)
    actor = ScoreParts(ledger, header, "default", settings, pool)
    # As Ray calls it: from as many threads as it has lanes.
    with ThreadPoolExecutor(pool.lanes) as caller:
        summaries = list(caller.map(lambda part: actor({"part": np.array([part])}), range(header.num_parts)))
    actor.close()
    for summary in summaries:
        if "error" in summary:
            raise MachineError(summary["error"][0])
    rows = staged_rows(ledger)
    assert sorted(row["unit_id"] for row in rows) == list(range(header.num_units))
    return {row["source_uri"].rpartition("/")[2]: row for row in rows}


def staged_rows(ledger: Ledger) -> list[dict[str, Any]]:
    """What is staged of the run, in the order of its parts."""
    return [row for _, file in sorted(ledger.staged_parts("run").items()) for row in read_parquet(file).to_pylist()]
