"""The commands that schedules are made of, on a tiny archive, with a scorer whose scores follow from the content."""

import datetime
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from emosphere.audio.decode_outcome import RecordingHeader
from emosphere.errors import MachineError
from emosphere.store import ABSENT
from emosphere.tables.identity import recording_id
from pipelines.doctor import command as doctoring
from pipelines.doctor.command import Unhealthy
from pipelines.erase.command import erase
from pipelines.erase.target import Target
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.score.command import score
from pipelines.score.publish.staged import staged_part
from pipelines.score.request import ScoreRequest
from pipelines.score.run.engine import Progress
from pipelines.score.settings import PlanSettings, ScoreSettings
from pipelines.score.unit import DecodedUnit, Unit, UnitResult, units_of
from tests.schedules import patches
from tests.schedules.simulator import SimulatedThread, current

NAMES = ("a.wav", "b.wav", "sub/c.wav", "sub/d.wav")
UNIT_BYTES = 64
SETTINGS = ScoreSettings(plan=PlanSettings(unit_bytes=UNIT_BYTES, part_units=1))
HEADER = RecordingHeader(codec="pcm_s16le", sample_rate_hz=8_000, num_channels=1, duration_ms=60_000)
DAY_S = 86_400
SEGMENT = {
    "channel": 0, "speech_ms": 900, "dominance": 0.0, "radius": 0.5, "azimuth_deg": 0.0, "polar_deg": 90.0,
    "confidence": "ok", "rms_db": -20.0, "clipped_ratio": 0.0,
}  # fmt: skip


class Archive:
    """A few files in memory, each with as many bytes as its version asks for; the same names wherever it runs."""

    uri = "memory:///archive"

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.history: dict[str, list[str]] = {}
        """What listing called every version there was."""

    def reset(self) -> None:
        """The first version of every file, ten days old."""
        MemoryFileSystem.store.clear()
        self.versions, self.history = {}, {}
        for name in NAMES:
            self.write(name, patches.EPOCH - 10 * DAY_S)

    def write(self, name: str, changed_at: float) -> None:
        """Add a file, or replace it by its next version."""
        version = self.versions[name] = self.versions.get(name, 0) + 1
        # One of the first ones takes two units, and so does the second version of any.
        file = MemoryFile(MemoryFileSystem(), f"/archive/{name}", b"x" * (40 * version + 40 * (name == "sub/d.wav")))
        file.created = file.modified = datetime.datetime.fromtimestamp(round(changed_at), datetime.UTC)
        MemoryFileSystem.store[f"/archive/{name}"] = file
        self.history.setdefault(name, []).append(self.version(name))

    def version(self, name: str) -> str:
        """What listing calls the content."""
        return f"{len(MemoryFileSystem.store[f'/archive/{name}'].getvalue())}-{self.modified_us(name)}"

    def modified_us(self, name: str) -> int:
        """Microseconds since 1970."""
        return int(MemoryFileSystem.store[f"/archive/{name}"].modified.timestamp() * 1_000_000)


class ArchiveFiles(MemoryFileSystem):
    """The file system of the archive: one file says as much of itself as a listing does."""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().info(path, **options)
        file = self.store.get(self._strip_protocol(path))
        return found if file is None else found | {"created": file.created}


def uri(name: str) -> str:
    """Under which a file of the archive stands in the tables."""
    return f"{Archive.uri}/{name}"


def marker(content_version: str) -> float:
    """The score by which rows of a version are known: of 24 bits, which a float32 holds."""
    return (zlib.crc32(content_version.encode()) >> 8) / (1 << 24)


def num_segments(content_version: str, num_units: int) -> int:
    """Segments that the stand-in finds in a recording."""
    return num_units * (1 + zlib.crc32(content_version.encode()) % 2)


def result_of(unit: Unit) -> UnitResult:
    """What the stand-in finds in a unit."""
    version = unit.recording.content_version
    per_unit = num_segments(version, unit.num_units) // unit.num_units
    begin_ms = unit.unit_index * 10_000
    segments = [
        SEGMENT
        | {"start_ms": begin_ms + 1000 * index, "end_ms": begin_ms + 1000 * index + 900, "valence": marker(version),
           "arousal": 0.0}
        for index in range(per_unit)
    ]  # fmt: skip
    decoded = DecodedUnit(header=HEADER, audio_ms=1000, end_ms=begin_ms + 5000)
    return UnitResult(unit=unit, decoded=decoded, segments=segments, distinct_channels=frozenset([0]))


def score_parts(
    ledger: Ledger,
    header: RunHeader,
    todo: list[int],
    model: str,
    settings: ScoreSettings,
    seal: Any,
    on_progress: Callable[[Progress], None],
) -> None:
    """Stand-in for the scoring actors: a thread of its own stages one part after another, as they do."""
    done: list[int] = []

    def work() -> None:
        for part in todo:
            stage(ledger, header, part)
            done.append(part)

    thread = current()
    if thread is None:
        work()
        return
    simulation, worker = thread.process.simulation, thread.process.add("worker", work)
    for number in range(1, len(todo) + 1):
        simulation.wait(lambda number=number: len(done) >= number or worker.is_done)
        _raise_from(worker)
        on_progress(Progress(number, header.num_parts, number, header.num_recordings, 0, 0, 0.0, 0.0))
    simulation.wait(lambda: worker.is_done)
    _raise_from(worker)


def _raise_from(worker: SimulatedThread) -> None:
    """What went wrong in an actor, as its command hears it."""
    if isinstance(worker.error, ABSENT):  # it was overtaken, and its run ended by its successor
        raise MachineError(f"Scoring stopped: {worker.error}.")
    if worker.error is not None:
        raise worker.error


def stage(ledger: Ledger, header: RunHeader, part: int) -> None:
    """Score a part and stage it."""
    units = units_of(ledger.plan_part(header, part))
    now = datetime.datetime.fromtimestamp(patches.wall_clock(), datetime.UTC)
    staged: pa.Table = staged_part([result_of(unit) for unit in units], scored_at=now)
    ledger.write_staged_part(header.run_id, part, staged)


@dataclass(frozen=True)
class Command:
    """What a simulated process runs: ``kind`` and what it is about."""

    kind: str
    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Command":
        kind, *words = text.split()
        return cls(kind, tuple(words))

    def __str__(self) -> str:
        return " ".join([self.kind, *self.words])

    def run(self, out: str) -> Any:
        """Run it here and now. Raises what the command raises."""
        if self.kind == "score":
            return score(self.request(out))
        if self.kind == "erase":
            return erase(out, self.target(), verify=True)
        findings = doctoring.doctor(None, out)
        # A server's clock is not the simulated one.
        if bad := [finding for finding in findings if finding.state == "fail" and finding.check != "clock"]:
            raise Unhealthy(str(bad), {})
        return findings

    def request(self, out: str) -> ScoreRequest:
        """``score``, of all or of the file named; ``next``: another command, for another day."""
        names = [word for word in self.words if word != "next"]
        request = ScoreRequest(
            archives=tuple(map(uri, names)) or (Archive.uri,), out=out, settings=SETTINGS,
            dt="2026-11-20",
        )  # fmt: skip
        return replace(request, dt="2026-11-21") if "next" in self.words else request

    def target(self) -> Target:
        """``erase uri NAME``, ``erase id NAME`` or ``erase older``."""
        how, *names = self.words
        if how == "older":
            return Target(older_than="1d")
        return Target(uri=uri(names[0])) if how == "uri" else Target(recording=recording_id(uri(names[0])))
