"""The Ray Data chain: parts of the plan -> scoring actors -> staging. Only part numbers travel through Ray."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import ray
import ray.data

from emosphere.errors import MachineError, UsageError
from emosphere.store import Location
from pipelines.ledger import RunHeader
from pipelines.resources import connect, pool_for
from pipelines.settings import ScoreSettings
from pipelines.stages.score_parts import ScoreParts

log = logging.getLogger("emosphere")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    recordings: int
    num_recordings: int
    failed: int
    segments: int
    audio_s: float
    wall_s: float


def score_parts(
    out: Location,
    header: RunHeader,
    todo: list[int],
    model: str,
    settings: ScoreSettings,
    on_progress: Callable[[Progress], None],
) -> None:
    """Score the parts ``todo`` into staging. A part scored twice writes the same object twice.

    Raises MachineError where the cluster gives up; what was staged stays, and the same command goes on from there.
    """
    connect()
    ray.data.DataContext.get_current().enable_progress_bars = False
    pool = pool_for(settings.resources, len(todo))
    summaries = ray.data.from_items([{"part": part} for part in todo], override_num_blocks=len(todo)).map_batches(
        ScoreParts,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=2),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
        fn_constructor_args=(out, header, model, settings, pool),
    )
    began, done = time.monotonic(), Counter[str]()
    try:
        for row in summaries.iter_rows():
            done.update({name: value for name, value in row.items() if name != "part"})
            on_progress(_progress(header, done, time.monotonic() - began))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UsageError | MachineError):
            raise cause from error
        raise MachineError(f"Scoring stopped: {str(error).strip().splitlines()[-1]}") from error
    log.info(
        "actors=%d busy=%.1f s: waiting for decoders %.0f %%, finding speech %.0f %%, model %.0f %%",
        pool.size,
        done["wall_s"],
        *(100 * done[name] / max(done["wall_s"], 1e-9) for name in ("wait_s", "hear_s", "predict_s")),
    )


def _progress(header: RunHeader, done: Counter[str], wall_s: float) -> Progress:
    return Progress(
        recordings=int(done["recordings"]),
        num_recordings=header.num_recordings,
        failed=int(done["failed"]),
        segments=int(done["segments"]),
        audio_s=float(done["audio_s"]),
        wall_s=wall_s,
    )
