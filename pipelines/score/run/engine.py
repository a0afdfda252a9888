"""What runs the scoring actors: Ray, or, where one will do, this process; and what the command hears meanwhile."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from emosphere.errors import MachineError, UsageError
from pipelines.archive.seal import Seal
from pipelines.cluster.host import CLUSTER_VARIABLES, num_gpus
from pipelines.cluster.resources import Pool, Resources, local_pool, own_cores
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.score.policy import NO_ROLES
from pipelines.score.run.in_process import InProcess
from pipelines.score.run.stalled import within_deadline
from pipelines.score.settings import ScoreSettings

if TYPE_CHECKING:
    from pipelines.score.run.chain import Chain

log = logging.getLogger("emosphere")

SMALL_RUN_BYTES, SMALL_RUN_UNITS = 32 << 20, 1024
"""A run of no more is scored by one actor sooner than Ray is up and several have.

An estimate: on the two cores that were measured one actor is all, and scores 450 to 500 s of audio a second, while Ray
takes 8 to 16 s to start and to leave (docs/benchmarks.md). Even if it never used more than two cores of many, Ray would
pay from some 5,000 s of audio on: 32 MiB are 1,000 s of WAV at 16 kHz, 4,000 s of MP3 at 64 kbit/s, and 11,000 s of
Opus at 24. Units count where recordings are short, or their bytes unknown; each takes about 10 ms.
"""


class Engine(NamedTuple):
    """What a run is to be run by, and why."""

    pool: Pool | None
    """Of the one actor in this process; None: Ray, which knows its machines itself."""
    reason: str

    def __str__(self) -> str:
        return f"{'Ray' if self.pool is None else 'in-process'}, since {self.reason}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; figures of recordings are those of this command, without what was scored before it."""

    parts: int
    num_parts: int
    recordings: int
    num_recordings: int
    failed: int
    segments: int
    audio_s: float
    wall_s: float


def score_parts(
    ledger: Ledger,
    header: RunHeader,
    todo: list[int],
    model: str,
    settings: ScoreSettings,
    seal: Seal,
    on_progress: Callable[[Progress], None],
) -> None:
    """Score the parts ``todo`` into staging. A part scored twice writes the same object twice.

    Raises MachineError where the actors or the cluster give up; what was staged stays, and the same command goes on
    from there.
    """
    engine = engine_for(settings.resources, header, len(todo))
    log.info("engine: %s", engine)
    actors: InProcess | Chain
    if engine.pool is None:
        # Not before it is needed: importing Ray takes seconds, and its files may be where a small run can write none.
        from pipelines.score.run import chain

        actors = chain.Chain(ledger, header, todo, model, settings, seal)
    else:
        actors = InProcess(ledger, header, todo, model, settings, seal, engine.pool)
    began, done = time.monotonic(), Counter[str]()
    rows = within_deadline(
        actors.summaries(), settings.resources.stall_timeout_s, lambda: ledger.signs_of_life(header.run_id)
    )
    try:
        for row in rows:
            if row.get("error"):
                raise (UsageError if row["exit_code"] == UsageError.exit_code else MachineError)(row["error"])
            if row["phone_calls"] and not done["phone_calls"] and not header.roles:
                log.warning(NO_ROLES)
            done.update({name: n for name, n in row.items() if name not in ("part", "error", "exit_code")}, parts=1)
            on_progress(_progress_of(header, len(todo), done, time.monotonic() - began))
    finally:
        actors.close()
    log.info(
        "actors=%d busy=%.1f s: waiting for decoders %.0f %%, finding speech %.0f %%, model %.0f %% (padding %.1f %%)",
        actors.size,
        done["wall_s"],
        *(100 * done[name] / max(done["wall_s"], 1e-9) for name in ("wait_s", "find_speech_s", "predict_s")),
        100 * done["padding"] / max(done["samples"], 1),
    )


def engine_for(resources: Resources, header: RunHeader, num_tasks: int) -> Engine:
    """The engine of a run of which ``num_tasks`` parts are to be scored."""
    share = num_tasks / max(header.num_parts, 1)
    # What listing could not size may be anything.
    num_bytes = header.num_bytes or header.num_units * SMALL_RUN_BYTES
    is_small = num_bytes * share <= SMALL_RUN_BYTES and header.num_units * share <= SMALL_RUN_UNITS
    return choose_engine(resources, num_tasks, is_small=is_small)


def choose_engine(resources: Resources, num_tasks: int, *, is_small: bool) -> Engine:
    """The engine for so many parts; ``is_small``: no more work than SMALL_RUN_BYTES and SMALL_RUN_UNITS."""
    if resources.engine == "ray":
        return Engine(None, "[resources] engine asks for it")
    if resources.engine == "in-process":
        return Engine(_one_actor(resources, num_tasks), "[resources] engine asks for it")
    if named := next(filter(os.environ.get, CLUSTER_VARIABLES), None):
        return Engine(None, f"{named} names a cluster")
    if resources.decode == "apart" or (resources.actors or 1) > 1:
        return Engine(None, "[resources] asks for several actors")
    pool = local_pool(resources, num_tasks, num_gpus())
    if pool.size == 1:
        return Engine(_one_actor(resources, num_tasks), "one actor is all that this machine has room or work for")
    if is_small:
        return Engine(_one_actor(resources, num_tasks), "so little is scored before Ray would be started")
    return Engine(None, f"{pool.size} actors have room on this machine")


def _one_actor(resources: Resources, num_tasks: int) -> Pool:
    """One actor of all cores of this machine, unless the settings give it fewer."""
    cores = resources.cpus_per_actor or max(2, own_cores())
    return local_pool(replace(resources, actors=1, cpus_per_actor=cores), num_tasks, num_gpus())


def _progress_of(header: RunHeader, num_todo: int, done: Counter[str], wall_s: float) -> Progress:
    return Progress(
        parts=header.num_parts - num_todo + int(done["parts"]),
        num_parts=header.num_parts,
        recordings=int(done["recordings"]),
        num_recordings=header.num_recordings,
        failed=int(done["failed"]),
        segments=int(done["segments"]),
        audio_s=float(done["audio_s"]),
        wall_s=wall_s,
    )
