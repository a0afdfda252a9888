"""Score an archive: plan -> score -> publish, resumed by the same command wherever it stopped."""

import contextlib
import datetime
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from emosphere.config import to_mapping
from emosphere.errors import RETRIED_CODES, EmosphereError, UsageError, Verdict
from emosphere.model.description import describe_checkpoint
from emosphere.model.find import find_model
from emosphere.redaction import redact
from emosphere.store import unsigned
from emosphere.tables.identity import id_key, public_uri, recording_id
from pipelines.archive.dates import Window
from pipelines.archive.listing import list_archives
from pipelines.archive.seal import seal_for
from pipelines.cluster.host import host_facts
from pipelines.erase.command import finish_erasure, is_erasing
from pipelines.out.forgotten import read_forgotten
from pipelines.out.lease import Lease, Overtaken
from pipelines.out.ledger import Ledger, RunHeader, command_key, new_run_id
from pipelines.out.snapshot import read_snapshot
from pipelines.score.plan.choose import FINISHED_COLUMNS, Choice
from pipelines.score.plan.cut import write_plan
from pipelines.score.publish.fold import Folded, fold_run, has_passing_failure
from pipelines.score.publish.replace import publish, write_run_row
from pipelines.score.publish.result import counts, file_metadata, result_of
from pipelines.score.request import ScoreRequest
from pipelines.score.run.chain import Progress, score_parts
from pipelines.score.settings import settings_digest

log = logging.getLogger("emosphere")

RETRIED = pa.array(sorted(RETRIED_CODES))


class TooManyFailures(Verdict):
    """The share of failed recordings is above the limit; nothing was published. ``result`` says what was found."""

    exit_code = 3


def score(request: ScoreRequest, on_progress: Callable[[Progress], None] = lambda progress: None) -> dict[str, Any]:
    """Bring OUT up to date with the archives and return the result that ``--json`` prints.

    Raises UsageError (nothing was started), MachineError (the same command resumes), TooManyFailures.
    """
    try:
        return _score(Job(request), on_progress)
    except EmosphereError as error:
        # What the user typed may be the name of a recording.
        with contextlib.suppress(EmosphereError):
            if key := id_key():
                names = [*request.archives, *map(unsigned, request.absolute_archives())]
                error.args = (key.hide(str(error), names), *error.args[1:])
        raise


def _score(job: "Job", on_progress: Callable[[Progress], None]) -> dict[str, Any]:
    with job.lease:
        job.finish_erasure()
        result = job.roll_forward()
        unfinished = job.unfinished()
        if unfinished is not None:
            result = job.run(unfinished, on_progress)
        fresh = job.plan()
        if fresh is not None:
            return job.run(fresh, on_progress)
        return result or job.nothing_to_do()


class Job:
    """One command at work: what stays the same over its plan, score and publish."""

    def __init__(self, request: ScoreRequest) -> None:
        self.began = time.monotonic()
        self.request = request
        self.out = request.open_out()
        self.ledger = Ledger(self.out)
        self.lease = Lease(self.ledger.lease, "a command that is starting")
        self.id_key = id_key()
        self.fingerprint = None if self.id_key is None else self.id_key.fingerprint
        self.ledger.check_id_key(self.fingerprint)
        self.model = request.absolute_model()
        self.checkpoint = describe_checkpoint(find_model(self.model))
        request.settings.listen.check_model(self.checkpoint)
        self.model_partition = f"{self.checkpoint.name}-{self.checkpoint.digest}"
        self.settings_digest = settings_digest(request.settings, request.roles, request.exception)
        self.archives = request.absolute_archives()
        self.seal = seal_for(self.archives, self.id_key, request.settings.store)
        self.named_archives = [public_uri(unsigned(archive), self.id_key) for archive in self.archives]
        self.skipped = self.forgotten = 0
        self.forgets = read_forgotten(self.ledger.home)
        self.key = command_key(
            archives=sorted(self.archives if self.id_key is None else self.named_archives),
            window=asdict(request.window),
            dt=request.dt,
            limit=request.limit,
            model=self.model_partition,
            settings=self.settings_digest,
            purpose=request.purpose,
            exception=request.exception,
        )

    def finish_erasure(self) -> None:
        """Bring an erasure that died to its end: until then a run would find rows that are meant to be gone."""
        if is_erasing(self.ledger):
            self.lease.acquire()
            log.info("an erasure died; finishing that first")
            finish_erasure(self.ledger, self.lease.check)

    def roll_forward(self) -> dict[str, Any] | None:
        """Finish publishing a run that died in the middle of it, whichever command it was.

        Returns its result if it was this same command. Until then the tables hold segments without their recordings;
        another run on top would make that permanent.
        """
        if self.ledger.publishing() is None:
            return None
        self.lease.acquire()
        header = self.ledger.publishing()
        if header is None:
            return None
        self.lease.work = f"run {header.run_id}"
        log.info("run %s died while publishing; finishing that first", header.run_id)
        with fold_run(self.ledger, header) as folded:
            result = self._publish(header, folded, result_of(header, folded, self.out, 0.0))
        return result if header.key == self.key else None

    def unfinished(self) -> RunHeader | None:
        """The run, with its stored plan, that this same command left unfinished."""
        if self._left() is None:
            return None
        self.lease.acquire()
        header = self._left()
        if header is None:
            return None
        log.info("resuming run %s with its stored plan", header.run_id)
        if self._was_refused(header):
            # It may be refused night after night: what came meanwhile is scored with it, and judged with it.
            with contextlib.suppress(UsageError):
                return self._extended(header)
        return header

    def _left(self) -> RunHeader | None:
        pointer = self.ledger.unfinished(self.key)
        return self.ledger.header(pointer[0]) if pointer else None

    def _was_refused(self, header: RunHeader) -> bool:
        return self.ledger.exit_code(header.run_id) == TooManyFailures.exit_code

    def _extended(self, header: RunHeader) -> RunHeader:
        """The run's plan with what was listed since: late files, and new versions of what it holds."""
        plan = (self.ledger.plan_part(header.run_id, part) for part in range(header.num_parts))
        with self.listed() as choice:
            choice.judge(self._finished(), self.settings_digest, plan)
            if not choice.chosen:
                return header
            log.info("%d recordings came since; they are added", choice.chosen)
            return self._write(header, choice)

    def plan(self) -> RunHeader | None:
        """List the archives and store a plan of what is not finished; None if all is.

        Nothing is written below OUT, the lease included, before something is found that is to be scored.
        """
        with self.listed() as choice:
            if not choice.listed:
                raise UsageError(
                    f"{', '.join(self.named_archives)}: no recordings there (hidden files and sidecars do not count)."
                )
            judged_by = self._snapshot()
            choice.judge(self._finished(), self.settings_digest)
            pointer = self.ledger.unfinished(self.key)
            if choice.chosen or pointer is not None:
                self.lease.acquire()
                self.finish_erasure()
                self.roll_forward()
                if (forgets := read_forgotten(self.ledger.home)) != self.forgets:  # erased while we were listing
                    self.forgets = forgets
                    return self.plan()
                if (left := self._left()) is not None:  # by somebody who died after we had looked
                    return left
                if self._snapshot() != judged_by:
                    choice.judge(self._finished(), self.settings_digest)
                pointer = self.ledger.unfinished(self.key)
            self.skipped, self.forgotten = choice.skipped, choice.forgotten
            header = self._header(pointer)
            if not choice.chosen:
                if pointer is not None:
                    self.lease.check()
                    self.ledger.forget(header)
                return None
            self.lease.work = f"run {header.run_id}"
            self.lease.check()
            self.ledger.begin(header)
            return self._write(header, choice)

    def _header(self, pointer: tuple[str, str, str] | None) -> RunHeader:
        """Header of a fresh run; one that died while planning is planned anew under its own name and date."""
        now = datetime.datetime.now(datetime.UTC)
        run_id, dt, started_at = pointer or (
            new_run_id(self.key, now),
            self.request.dt or f"{now:%Y-%m-%d}",
            now.isoformat(),
        )
        return RunHeader(
            run_id=run_id,
            key=self.key,
            dt=dt,
            started_at=started_at,
            model_name=self.checkpoint.name,
            model_digest=self.checkpoint.digest,
            model_licence=self.checkpoint.licence,
            settings_digest=self.settings_digest,
            config=_stored(self.request),
            archives=self.named_archives,
            purpose=self.request.purpose,
            roles={str(channel): role for channel, role in self.request.roles.items()},
            exception=self.request.exception,
            id_key=self.fingerprint,
            file_metadata=file_metadata(self.checkpoint),
        )

    def _write(self, header: RunHeader, choice: Choice) -> RunHeader:
        return write_plan(
            self.ledger,
            replace(header, num_skipped=choice.skipped, num_forgotten=choice.forgotten),
            choice.batches(by_size=self.request.settings.plan.score_duplicates_once),
            self.request.settings,
            num_recordings=choice.chosen,
            num_bytes=choice.num_bytes,
            still_ours=self.lease.check,
        )

    @contextlib.contextmanager
    def chosen(self) -> Iterator[Choice]:
        """What this command would score now."""
        with self.listed() as choice:
            choice.judge(self._finished(), self.settings_digest)
            yield choice

    @contextlib.contextmanager
    def listed(self) -> Iterator[Choice]:
        """What the archives hold, as a plan may hold it; not judged yet."""
        with Choice() as choice:
            choice.take(
                list_archives(
                    self.archives,
                    out=self.out,
                    store_options=self.request.settings.store,
                    limits=self.request.settings.archive,
                ),
                window=self.request.window,
                limit=self.request.limit,
                identify=lambda uri: recording_id(uri, self.id_key),
                cover=self.seal.cover,
                forgets=lambda recording, identity: self.forgets.holds(recording, identity, self.id_key),
                retried=self._retried(),
            )
            yield choice

    def _finished(self) -> Iterator[tuple[str, pa.RecordBatchReader]]:
        return self.ledger.published_columns(self.model_partition, FINISHED_COLUMNS)

    def _retried(self) -> set[str]:
        """Recordings whose failure may have passed: tried again by every night, whichever its window."""
        if self.request.window == Window():
            return set()  # all are inside
        columns = ["recording_id", "error_code", "status"]
        return {
            row["recording_id"]
            for _, reader in self.ledger.published_columns(self.model_partition, columns)
            for batch in reader
            for row in batch.filter(pc.is_in(batch.column("error_code"), RETRIED)).to_pylist()
            if row["status"] == "failed"
        }

    def _snapshot(self) -> str | None:
        """The run that was published last."""
        snapshot = read_snapshot(self.out)
        return None if snapshot is None else str(snapshot["run_id"])

    def run(self, header: RunHeader, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        """Score what is not staged yet, publish, and close the run."""
        try:
            return self._run(header, on_progress)
        except EmosphereError as error:
            # Who was overtaken, or never had its turn, has no say.
            if self.lease.number is not None and not isinstance(error, TooManyFailures | Overtaken):
                ended = {"run_id": header.run_id, "error": self.seal.hide(str(error)), "exit_code": error.exit_code}
                # If OUT itself is what broke, the first error is the one to hear.
                with contextlib.suppress(EmosphereError):
                    self.lease.check()
                    self.ledger.write_result(header.run_id, ended)
            raise

    def _run(self, header: RunHeader, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        self.lease.acquire()
        self.lease.work = f"run {header.run_id}"
        staged = self.ledger.staged_parts(header.run_id)
        todo = [part for part in range(header.num_parts) if part not in staged]
        if self._was_refused(header):
            # For its failures: those that may pass get another try before it is judged again.
            kept = sorted(staged & set(range(header.num_parts)))
            todo += [part for part in kept if has_passing_failure(self.ledger.staged_part(header.run_id, part))]
        log.info(
            "run %s: %d recordings, %d finished before, %d of %d parts to score",
            header.run_id,
            header.num_recordings,
            header.num_skipped,
            len(todo),
            header.num_parts,
        )

        def watched(progress: Progress) -> None:
            if self.lease.is_lost:
                self.lease.check()
            on_progress(progress)

        if todo:
            score_parts(self.out, header, todo, self.model, self.request.settings, self.seal, watched)
        with fold_run(self.ledger, header) as folded:
            result = result_of(header, folded, self.out, time.monotonic() - self.began)
            self.lease.check()
            self._check_error_rate(header, result)
            return self._publish(header, folded, result)

    def _publish(self, header: RunHeader, folded: Folded, result: dict[str, Any]) -> dict[str, Any]:
        self.lease.check()
        self.ledger.mark_publishing(header.run_id)
        publish(self.ledger, header, folded, self.lease.check)
        self.lease.check()
        self.ledger.unmark_publishing()
        result["wall_s"] = round(time.monotonic() - self.began, 3)
        host = host_facts()
        self.lease.check()
        write_run_row(self.ledger, header, result, host)
        self.ledger.write_result(header.run_id, result | {"exit_code": 0})
        self.lease.check()
        self.ledger.forget(header)
        return result

    def nothing_to_do(self) -> dict[str, Any]:
        """Result of a command that found all finished. It takes the place of the same command's last result."""
        now = datetime.datetime.now(datetime.UTC)
        run_id = self.ledger.last_run_id(self.key) or new_run_id(self.key, now)
        wall_s = time.monotonic() - self.began
        result = counts(run_id, skipped=self.skipped, skipped_policy=self.forgotten, out=self.out, wall_s=wall_s)
        self.ledger.write_result(run_id, result | {"exit_code": 0})
        return result

    def _check_error_rate(self, header: RunHeader, result: dict[str, Any]) -> None:
        attempted = result["scored"] + result["no_speech"] + result["failed"]
        rate = result["failed"] / max(attempted, 1)
        if rate <= self.request.max_error_rate:
            return
        self.ledger.write_result(header.run_id, result | {"exit_code": 3})
        raise TooManyFailures(
            f"{result['failed']} of {attempted} recordings failed ({rate:.1%}), more than --max-error-rate "
            f"{self.request.max_error_rate:g} allows. Nothing was published; what was scored is kept. The same "
            f"command with --max-error-rate {rate + 0.0005:.3f} or more publishes it.",
            result,
        )


def _stored(request: ScoreRequest) -> dict[str, Any]:
    """The settings as the tables keep them; an address among the store's options may hold a password."""
    settings = to_mapping(request.settings) | {"max_error_rate": request.max_error_rate}
    stored: dict[str, Any] = json.loads(redact(json.dumps(settings, default=str)))
    return stored
