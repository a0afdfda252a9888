"""What another version of emosphere began and did not end is refused in words before this one goes on with it."""

from pipelines.output.columns import check_files
from pipelines.score.job import Job
from pipelines.score.plan.cut import PLAN_SCHEMA
from pipelines.score.publish.staged import STAGED_SCHEMA


def check_begun(job: Job) -> None:
    """Raise UsageError where plan or staged results of a run that the job would finish have other columns than here.

    Looks at the first and the last part of each, for the reason that ``check_published`` gives; folding looks at all.
    """
    ledger, begun = job.ledger, job.ledger.begun(job.key)
    for header in (ledger.publishing(), begun and ledger.header(begun.run_id)):
        if header is None:
            continue
        run_id, advice = header.run_id, ledger.advice(header.run_id)
        for kind, schema, parts in (
            ("plan", PLAN_SCHEMA, range(header.num_parts)),
            ("staging", STAGED_SCHEMA, sorted(ledger.staged_parts(run_id))),
        ):
            ends = sorted({*parts[:1], *parts[-1:]})
            check_files((ledger.part(run_id, kind, number) for number in ends), schema, advice)
