"""Score an archive: plan -> score -> publish, resumed by the same command wherever it stopped."""

import datetime
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ray
import ray.data

from emosphere.config import to_mapping
from emosphere.errors import MachineError, UsageError
from emosphere.geometry import REGION_NAMES
from emosphere.model.checkpoint import Checkpoint, load_checkpoint
from emosphere.model.find import find_model
from emosphere.store import Location, locate, unsigned
from pipelines.archive.dates import Window
from pipelines.archive.listing import list_archives
from pipelines.archive.recording import options_for
from pipelines.host import host_facts
from pipelines.ledger import Finished, Ledger, RunHeader, command_key, new_run_id
from pipelines.plan import Selection, select, write_plan
from pipelines.publish import Folded, fold_run, publish, write_run_row
from pipelines.resources import connect, pool_for
from pipelines.settings import ScoreSettings, settings_digest
from pipelines.stages.score_parts import ScoreParts

log = logging.getLogger("emosphere")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRequest:
    """One ``emosphere score`` command."""

    archives: tuple[str, ...]
    out: str
    model: str = "default"
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    dt: str | None = None
    window: Window = field(default_factory=Window)
    roles: dict[int, str] = field(default_factory=dict)
    purpose: str | None = None
    max_error_rate: float = 1.0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    recordings: int
    num_recordings: int
    failed: int
    segments: int
    audio_s: float
    wall_s: float


class TooManyFailures(Exception):
    """The share of failed recordings is above the limit; nothing was published. ``result`` says what was found."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def score(request: ScoreRequest, on_progress: Callable[[Progress], None] = lambda progress: None) -> dict[str, Any]:
    """Bring OUT up to date with the archives and return the result that ``--json`` prints.

    Raises UsageError (nothing was started), MachineError (the same command resumes), TooManyFailures.
    """
    began = time.monotonic()
    job = _Job(request)
    resumed = job.resume()
    result = job.run(resumed, began, on_progress) if resumed else None
    fresh = job.plan()
    if fresh is not None:
        return job.run(fresh, began, on_progress)
    return result or job.nothing_to_do(began)


class _Job:
    """What stays the same over the plan, score and publish of one command."""

    def __init__(self, request: ScoreRequest) -> None:
        self.request = request
        self.out = open_out(request)
        self.ledger = Ledger(self.out)
        self.model_folder = str(find_model(request.model))
        self.checkpoint: Checkpoint = load_checkpoint(self.model_folder)
        self.settings_digest = settings_digest(request.settings, request.roles)
        self.archives = [absolute(archive, request) for archive in request.archives]
        self.key = command_key(
            archives=sorted(self.archives),
            window=asdict(request.window),
            dt=request.dt,
            limit=request.limit,
            model=[self.checkpoint.name, self.checkpoint.digest],
            settings=self.settings_digest,
            purpose=request.purpose,
        )
        self.counts = Selection()

    def resume(self) -> RunHeader | None:
        """The stored plan of the run that this same command left unfinished."""
        pointer = self.ledger.unfinished(self.key)
        header = self.ledger.header(pointer[0]) if pointer else None
        if header is not None:
            log.info("resuming run %s with its stored plan", header.run_id)
        return header

    def plan(self) -> RunHeader | None:
        """List the archives and store a plan of what is not finished; None if all is."""
        now = datetime.datetime.now(datetime.UTC)
        # A run that died while planning is planned anew under its own name and date.
        run_id, dt, started_at = self.ledger.unfinished(self.key) or (
            new_run_id(self.key, now),
            self.request.dt or f"{now:%Y-%m-%d}",
            now.isoformat(),
        )
        header = RunHeader(
            run_id=run_id,
            key=self.key,
            dt=dt,
            started_at=started_at,
            model_name=self.checkpoint.name,
            model_digest=self.checkpoint.digest,
            model_licence=self.checkpoint.licence,
            settings_digest=self.settings_digest,
            config=to_mapping(self.request.settings) | {"max_error_rate": self.request.max_error_rate},
            archives=[unsigned(archive) for archive in self.archives],
            purpose=self.request.purpose,
            roles={str(channel): role for channel, role in self.request.roles.items()},
        )
        self.counts = Selection()
        header_or_none = write_plan(self.ledger, header, self.chosen(), self.counts, self.request.settings.plan)
        if header_or_none is None:
            self.ledger.forget(header)
        return header_or_none

    def chosen(self) -> Iterator[Any]:
        """Recordings of the archives that this command would score."""
        return select(
            list_archives(self.archives, out=self.out, store_options=self.request.settings.store),
            window=self.request.window,
            finished=self.finished(),
            settings_digest=self.settings_digest,
            limit=self.request.limit,
            counts=self.counts,
        )

    def finished(self) -> dict[bytes, Finished]:
        return self.ledger.finished(f"{self.checkpoint.name}-{self.checkpoint.digest}")

    def run(self, header: RunHeader, began: float, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        """Score what is not staged yet, publish, and close the run."""
        staged = self.ledger.staged_parts(header.run_id)
        todo = [part for part in range(header.num_parts) if part not in staged]
        log.info(
            "run %s: %d recordings, %d of %d parts to score",
            header.run_id,
            header.num_recordings,
            len(todo),
            header.num_parts,
        )
        if todo:
            _score_parts(self, header, todo, began, on_progress)
        folded = fold_run(self.ledger, header)
        result = _result(header, folded, self.out, time.monotonic() - began)
        attempted = len(folded.recordings) - folded.count("skipped_policy")
        rate = folded.count("failed") / max(attempted, 1)
        if rate > self.request.max_error_rate:
            self.ledger.write_result(header.run_id, result | {"exit_code": 3})
            raise TooManyFailures(
                f"{folded.count('failed')} of {attempted} recordings failed ({rate:.1%}), more than --max-error-rate "
                f"{self.request.max_error_rate:g} allows. Nothing was published; what was scored is kept. The same "
                f"command with --max-error-rate {rate:.3f} or more publishes it.",
                result,
            )
        publish(self.ledger, header, folded, self.finished(), file_metadata(self.checkpoint))
        result["wall_s"] = round(time.monotonic() - began, 3)
        write_run_row(self.ledger, header, result, host_facts())
        self.ledger.write_result(header.run_id, result | {"exit_code": 0})
        self.ledger.forget(header)
        return result

    def nothing_to_do(self, began: float) -> dict[str, Any]:
        """Result of a command that found all finished: the figures of now, stored over its last result."""
        before = self.ledger.last_result(self.key)
        run_id = before["run_id"] if before else None
        result = _counts(run_id, skipped=self.counts.skipped, out=self.out, wall_s=time.monotonic() - began)
        if run_id is not None:
            self.ledger.write_result(run_id, result | {"exit_code": 0})
        return result


def _score_parts(
    job: _Job, header: RunHeader, todo: list[int], began: float, on_progress: Callable[[Progress], None]
) -> None:
    """The Ray Data chain: parts of the plan -> scoring actors -> staging. Only part numbers travel through Ray."""
    connect()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    pool = pool_for(job.request.settings.resources, len(todo))
    dataset = ray.data.from_items([{"part": part} for part in todo], override_num_blocks=len(todo)).map_batches(
        ScoreParts,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=2),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
        fn_constructor_args=(job.out, header.run_id, job.model_folder, job.request.settings),
    )
    recordings = failed = segments = 0
    audio_s = 0.0
    try:
        for row in dataset.iter_rows():
            recordings += int(row["recordings"])
            failed += int(row["failed"])
            segments += int(row["segments"])
            audio_s += float(row["audio_s"])
            log.debug("part %s", json.dumps(row, default=float))
            on_progress(
                Progress(recordings, header.num_recordings, failed, segments, audio_s, time.monotonic() - began)
            )
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UsageError | MachineError):
            raise cause from error
        raise MachineError(f"Scoring stopped: {str(error).strip().splitlines()[-1]}") from error


def open_out(request: ScoreRequest) -> Location:
    """OUT, checked to be a folder one can write to."""
    out = locate(request.out, **options_for(request.out, request.settings.store))
    if request.out.startswith(("http://", "https://")):
        raise UsageError(f"{unsigned(request.out)}: OUT cannot be written over http; use a path or s3://.")
    if out.is_local and Path(out.path).exists() and not Path(out.path).is_dir():
        raise UsageError(f"{out.path}: OUT must be a folder, found a file.")
    return out


def absolute(archive: str, request: ScoreRequest) -> str:
    """The archive as every machine and every later run understands it."""
    location = locate(archive, **options_for(archive, request.settings.store))
    return location.path if archive.startswith(("http://", "https://")) else location.uri


def file_metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What a table's file says of its numbers."""
    num_regions = checkpoint.config.num_regions or 8
    return {
        "scale": "centred: every dimension in [-1, 1], 0 is the middle of the rating scale",
        "axes": "x = arousal, y = valence, z = dominance; azimuth = atan2(v, a), polar = angle from +dominance",
        "regions": json.dumps(REGION_NAMES[num_regions]),
        "model": f"{checkpoint.name}-{checkpoint.digest}",
        "model_licence": checkpoint.licence,
        "meaning": "perceived vocal expression as a model estimates it; not feeling, intent or truth",
    }


def _result(header: RunHeader, folded: Folded, out: Location, wall_s: float) -> dict[str, Any]:
    counts = {status: folded.count(status) for status in ("scored", "no_speech", "failed", "skipped_policy")}
    return _counts(
        header.run_id,
        **counts,
        skipped=header.num_skipped,
        segments=sum(len(table) for table in folded.segments),
        audio_s=folded.audio_ms / 1000,
        speech_s=folded.speech_ms / 1000,
        out=out,
        wall_s=wall_s,
    )


def _counts(
    run_id: str | None,
    *,
    out: Location,
    wall_s: float,
    scored: int = 0,
    no_speech: int = 0,
    failed: int = 0,
    skipped: int = 0,
    skipped_policy: int = 0,
    segments: int = 0,
    audio_s: float = 0.0,
    speech_s: float = 0.0,
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "recordings": scored + no_speech + failed + skipped + skipped_policy,
        "scored": scored,
        "no_speech": no_speech,
        "failed": failed,
        "skipped": skipped,
        "skipped_policy": skipped_policy,
        "segments": segments,
        "audio_s": round(audio_s, 3),
        "speech_s": round(speech_s, 3),
        "wall_s": round(wall_s, 3),
        "out": out.uri if not out.is_local else out.path,
    }
