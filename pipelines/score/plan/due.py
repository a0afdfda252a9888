"""What a command still has to score: what its archives hold, without what the tables have and what was erased."""

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from emosphere.errors import RETRIED_CODES, UsageError
from emosphere.tables.identity import recording_id
from pipelines.archive.dates import Window
from pipelines.archive.listing import list_archives
from pipelines.output.forgotten import Forgotten, read_forgotten
from pipelines.output.ledger import RunHeader
from pipelines.output.snapshot import read_snapshot
from pipelines.score.job import Job
from pipelines.score.plan.choose import FINISHED_COLUMNS, Choice
from pipelines.score.plan.cut import write_plan

RETRIED = pa.array(sorted(RETRIED_CODES))


class Due:
    """The archives and the tables of a job, as they were when they were read: without the lease both may change."""

    def __init__(self, job: Job, choice: Choice) -> None:
        """``choice``: where the list is kept."""
        self._job = job
        self._choice = choice
        self._forgotten = Forgotten()
        self._published_last: str | None = None

    def list_archives(self) -> None:
        """List the archives, and note what was erased. Raises UsageError where they hold no recordings at all."""
        job, request = self._job, self._job.request
        self._forgotten = forgotten = read_forgotten(job.ledger.home)
        self._choice.take(
            list_archives(
                job.archives, out=job.out, store_options=request.settings.store, limits=request.settings.archive
            ),
            window=request.window,
            limit=request.limit,
            identify=lambda uri: recording_id(uri, job.id_key),
            cover=job.seal.cover,
            forgets=lambda recording, identity: forgotten.holds(
                identity, recording.source_uri, recording.modified_us, job.id_key
            ),
            retried=self._retried(),
        )
        if not self._choice.listed:
            raise UsageError(
                f"{', '.join(job.named_archives)}: no recordings there (hidden files and sidecars do not count)."
            )

    def compare_with_tables(self, planned: Iterable[pa.Table] = ()) -> None:
        """Compare what was listed with the tables, and with the parts of this command's own unfinished plan."""
        job = self._job
        self._published_last = self._last_published()
        published = job.ledger.published_columns(job.model_partition, FINISHED_COLUMNS)
        self._choice.leave_out_finished(published, job.settings_digest, planned)

    def renew(self) -> None:
        """Make it true again, under the lease: others may have written since the archives were listed without it."""
        if read_forgotten(self._job.ledger.home) != self._forgotten:
            self.list_archives()
            self.compare_with_tables()
        elif self._last_published() != self._published_last:
            self.compare_with_tables()

    def write_plan(self) -> RunHeader | None:
        """Begin a run and store its plan. None where nothing is due; then a run that died while planning is over."""
        ledger = self._job.ledger
        begun = ledger.begun(self._job.key)
        header = self._job.new_header(begun)
        if self._choice.chosen:
            self._job.writer.lease.work = f"run {header.run_id}"
            ledger.begin(header)
            return self.add_to_plan(header)
        if begun is not None:
            ledger.end(header)
        return None

    def add_to_plan(self, header: RunHeader) -> RunHeader:
        """Store what is due behind the parts that ``header`` counts already; the header that counts all of them."""
        choice, settings = self._choice, self._job.request.settings
        return write_plan(
            self._job.ledger,
            replace(header, num_skipped=choice.skipped, num_forgotten=choice.forgotten),
            choice.batches(by_size=settings.plan.score_duplicates_once),
            settings,
            num_recordings=choice.chosen,
            num_bytes=choice.num_bytes,
        )

    def _retried(self) -> set[str]:
        """Recordings whose failure may have passed: tried again by every night, whichever its window."""
        if self._job.request.window == Window():
            return set()  # all are inside
        columns = ["recording_id", "error_code", "status"]
        return {
            row["recording_id"]
            for _, reader in self._job.ledger.published_columns(self._job.model_partition, columns)
            for batch in reader
            for row in batch.filter(pc.is_in(batch.column("error_code"), RETRIED)).to_pylist()
            if row["status"] == "failed"
        }

    def _last_published(self) -> str | None:
        """Id of the run that was published last."""
        snapshot = read_snapshot(self._job.out)
        return str(snapshot["run_id"]) if snapshot else None
