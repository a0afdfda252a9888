"""What another version of emosphere began and did not end is refused in words before this one goes on with it."""

from pipelines.output.columns import check_files
from pipelines.score.job import Job
from pipelines.score.plan.cut import PLAN_SCHEMA
from pipelines.score.publish.staged import STAGED_SCHEMA


def check_unfinished(job: Job) -> None:
    """Raise UsageError where plan or staged results of a run that the job would finish have other columns than here.

    Looks at the first and the last part of each, for the reason that ``check_published`` gives; folding looks at all.
    """
    ledger, begun = job.ledger, job.ledger.begun(job.key)
    for header in (ledger.publishing(), begun and ledger.header(begun.run_id)):
        if header is None:
            continue
        run_id, advice = header.run_id, ledger.advice(header.run_id)
        ends = {number for number in (0, header.num_parts - 1) if number >= 0}
        check_files((ledger.part(run_id, "plan", number) for number in sorted(ends)), PLAN_SCHEMA, advice)
        staged = ledger.staged_parts(run_id)
        ends = {min(staged), max(staged)} if staged else set()
        check_files((ledger.part(run_id, "staging", number) for number in sorted(ends)), STAGED_SCHEMA, advice)
