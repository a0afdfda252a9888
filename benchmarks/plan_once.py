"""Program: plan an archive into OUT, and print its seconds, its memory in MiB and what was planned, as JSON."""

import json
import resource
import sys
import time

from pipelines.score.job import Job
from pipelines.score.plan.choose import Choice
from pipelines.score.plan.due import Due
from pipelines.score.request import ScoreRequest


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(archive: str, out: str) -> None:
    job = Job(ScoreRequest(archives=(archive,), out=out, dt="2026-11-20"))
    before_mib, began, began_cpu = peak_mib(), time.monotonic(), time.process_time()
    with job.writer, Choice() as choice:
        due = Due(job, choice)
        due.list_archives()
        due.compare_with_tables()
        job.writer.open()
        header = due.write_plan()
    measured = {
        "wall_s": time.monotonic() - began,
        "cpu_s": time.process_time() - began_cpu,
        "before_mib": before_mib,
        "peak_mib": peak_mib(),
        "parts": header.num_parts,
        "recordings": header.num_recordings,
        "skipped": header.num_skipped,
        "run_id": header.run_id,
        "model": header.model_partition,
        "settings": header.settings_digest,
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
