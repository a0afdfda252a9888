"""Score an archive: plan -> score -> publish, resumed by the same command wherever it stopped."""

import contextlib
import datetime
import logging
import time
from collections.abc import Callable
from typing import Any

from emosphere.errors import EmosphereError, UsageError, Verdict
from emosphere.store import unsigned
from emosphere.tables.identity import id_key
from pipelines.output.erasure import finish_erasing
from pipelines.output.fence import Overtaken
from pipelines.output.ledger import RunHeader, json_bytes, new_run_id, read_parquet
from pipelines.score.job import Job
from pipelines.score.plan.begun import check_begun
from pipelines.score.plan.choose import Choice
from pipelines.score.plan.due import Due
from pipelines.score.publish.finish import finish_publishing, publish_run
from pipelines.score.publish.fold import fold_run, has_passing_failure
from pipelines.score.publish.result import counts, result_of
from pipelines.score.request import ScoreRequest
from pipelines.score.run.engine import Progress, score_parts

log = logging.getLogger("emosphere")

OnProgress = Callable[[Progress], None]


class TooManyFailures(Verdict):
    """The share of failed recordings is above the limit; nothing was published. ``result`` says what was found."""

    exit_code = 3


def score(request: ScoreRequest, on_progress: OnProgress = lambda progress: None) -> dict[str, Any]:
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


def _score(job: Job, on_progress: OnProgress) -> dict[str, Any]:
    """The steps of a command, in order: first what somebody died over, then what is new.

    Before there is something to finish or to score, nothing is written below OUT, the lease included.
    """
    check_begun(job)
    with job.writer:  # opened at once where somebody may hold the lease
        result = finish_what_died(job)
        unfinished = unfinished_run(job)
        if unfinished is not None:
            result = run(job, with_late_files(job, unfinished), on_progress)
        with Choice() as choice:
            due = Due(job, choice)
            due.list_archives()
            due.compare_with_tables()
            fresh = None
            if choice.chosen or job.ledger.begun(job.key) is not None:
                job.writer.open()
                # It listed without the lease: others may have erased, published, or begun this run and died.
                result = finish_what_died(job) or result
                fresh = unfinished_run(job)
                if fresh is None:
                    due.renew()
                    fresh = due.write_plan()
        if fresh is not None:
            return run(job, fresh, on_progress)
        return result or nothing_to_do(job, choice)


def finish_what_died(job: Job) -> dict[str, Any] | None:
    """End an erasure, or the publishing of a run, that somebody died over; the run's result if it was this command's.

    The erasure first: until then a run would find rows that are meant to be gone.
    """
    finish_erasing(job.writer)
    ended = finish_publishing(job.writer)
    if ended is None:
        return None
    header, result = ended
    return result if header.key == job.key else None


def unfinished_run(job: Job) -> RunHeader | None:
    """The run, with its stored plan, that this same command left unfinished."""
    if _planned(job) is None:
        return None
    job.writer.open()
    header = _planned(job)
    if header is not None:
        log.info("resuming run %s with its stored plan", header.run_id)
    return header


def _planned(job: Job) -> RunHeader | None:
    begun = job.ledger.begun(job.key)
    return None if begun is None else job.ledger.header(begun.run_id)


def with_late_files(job: Job, header: RunHeader) -> RunHeader:
    """A run that was refused for its failures, with what was listed since: late files, and new versions of what it
    holds. It may be refused night after night: what came meanwhile is scored with it, and counts with it.
    """
    if not _was_refused(job, header):
        return header
    planned = (job.ledger.plan_part(header, part) for part in range(header.num_parts))
    # An archive that is gone keeps nobody from publishing what was scored of it.
    with contextlib.suppress(UsageError), Choice() as choice:
        due = Due(job, choice)
        due.list_archives()
        due.compare_with_tables(planned)
        if choice.chosen:
            log.info("%d recordings came since; they are added", choice.chosen)
            return due.add_to_plan(header)
    return header


def _was_refused(job: Job, header: RunHeader) -> bool:
    begun = job.ledger.begun(header.key)
    return begun is not None and begun.is_refused


def run(job: Job, header: RunHeader, on_progress: OnProgress) -> dict[str, Any]:
    """Score what is not staged yet, publish, and close the run."""
    try:
        return _run(job, header, on_progress)
    except EmosphereError as error:
        # Who was overtaken, or never had its turn, has no say.
        if job.ledger.fence is not None and not isinstance(error, TooManyFailures | Overtaken):
            ended = {"run_id": header.run_id, "error": job.seal.hide(str(error)), "exit_code": error.exit_code}
            # If OUT itself is what broke, the first error is the one to hear.
            with contextlib.suppress(EmosphereError):
                job.ledger.write_result(header.run_id, ended)
        raise


def _run(job: Job, header: RunHeader, on_progress: OnProgress) -> dict[str, Any]:
    job.writer.open()
    job.writer.lease.work = f"run {header.run_id}"
    todo = _parts_to_score(job, header)
    log.info(
        "run %s: %d recordings, %d finished before, %d of %d parts to score",
        header.run_id,
        header.num_recordings,
        header.num_skipped,
        len(todo),
        header.num_parts,
    )

    def watched(progress: Progress) -> None:
        if job.writer.lease.is_lost:
            job.ledger.writing.check()
        on_progress(progress)

    if todo:
        score_parts(job.ledger, header, todo, job.model, job.request.settings, job.seal, watched)
    with fold_run(job.ledger, header) as folded:
        result = result_of(header, folded, job.out, time.monotonic() - job.began)
        _check_error_rate(job, header, result)
        return publish_run(job.ledger, header, folded, job.began)


def _parts_to_score(job: Job, header: RunHeader) -> list[int]:
    staged = job.ledger.staged_parts(header.run_id)
    todo = [part for part in range(header.num_parts) if part not in staged]
    if _was_refused(job, header):
        # For its failures: those that may pass get another try before they are counted again.
        todo += [part for part, file in sorted(staged.items()) if has_passing_failure(read_parquet(file))]
    return todo


def _check_error_rate(job: Job, header: RunHeader, result: dict[str, Any]) -> None:
    attempted = result["scored"] + result["no_speech"] + result["failed"]
    rate = result["failed"] / max(attempted, 1)
    if rate <= job.request.max_error_rate:
        return
    job.ledger.write_result(header.run_id, result | {"exit_code": TooManyFailures.exit_code})
    job.ledger.refuse(header)
    raise TooManyFailures(
        f"{result['failed']} of {attempted} recordings failed ({rate:.1%}), more than --max-error-rate "
        f"{job.request.max_error_rate:g} allows. Nothing was published; what was scored is kept. The same "
        f"command with --max-error-rate {rate + 0.0005:.3f} or more publishes it.",
        result,
    )


def nothing_to_do(job: Job, choice: Choice) -> dict[str, Any]:
    """Result of a command that found all finished. It takes the place of the same command's last result."""
    now = datetime.datetime.now(datetime.UTC)
    run_id = job.ledger.last_run_id(job.key) or new_run_id(job.key, now)
    wall_s = time.monotonic() - job.began
    result = counts(run_id, skipped=choice.skipped, skipped_policy=choice.forgotten, out=job.out, wall_s=wall_s)
    # Without the lease, which belongs to whoever has something to write: a report, by which nobody decides anything.
    job.ledger.result(run_id).write_bytes(json_bytes(result | {"exit_code": 0}))
    return result
