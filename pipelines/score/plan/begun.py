"""What another version of emosphere began and did not end is refused in words before this one goes on with it."""

from collections.abc import Sequence

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
        staged = ledger.staged_parts(header.run_id)
        for schema, files in (
            (PLAN_SCHEMA, [ledger.plan_file(header, part) for part in _ends(range(header.num_parts))]),
            (STAGED_SCHEMA, [staged[part] for part in _ends(sorted(staged))]),
        ):
            check_files(files, schema, ledger.advice(header.run_id))


def _ends(parts: Sequence[int]) -> list[int]:
    """The first and the last."""
    return sorted({*parts[:1], *parts[-1:]})
