"""What is done and what is not: unfinished runs, their plans and staged results, under OUT/_emosphere."""

import datetime
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.errors import MachineError, UsageError
from emosphere.store import ABSENT, Location, explained
from emosphere.tables.schema import arrow_schema
from pipelines.output.columns import NEW_OUT, check_columns
from pipelines.output.fence import Fence
from pipelines.output.state import FILE as STATE_FILE
from pipelines.output.state import Begun, State, read_state, state_bytes

HOME = "_emosphere"
ERASING = "erasing"
"""Folder, below HOME, of the ids that are being erased."""
BATCH_ROWS = 65_536
_PART: Final = re.compile(r"part-(\d{6,})\.(\d+)\.parquet")
"""Part and holder in the name of a file of a plan, or of what was scored of it."""


@dataclass(kw_only=True, slots=True)
class RunHeader:
    """A run: what was asked for, and how its plan counts. Stored when the plan is complete; anew with late files."""

    run_id: str
    key: str
    dt: str
    started_at: str
    model_name: str
    model_digest: str
    model_licence: str
    settings_digest: str
    config: dict[str, Any]
    archives: list[str]
    purpose: str | None
    roles: dict[str, str]
    exception: str | None = None
    id_key: str | None = None
    num_parts: int = 0
    planned: list[list[int]] = field(default_factory=list)
    """``[first part, number of the holder that planned it and the next ones]``, in order."""
    num_units: int = 0
    num_recordings: int = 0
    num_skipped: int = 0
    num_forgotten: int = 0
    num_bytes: int = 0
    file_metadata: dict[str, str] = field(default_factory=dict)

    @property
    def model_partition(self) -> str:
        return f"{self.model_name}-{self.model_digest}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reads and writes below OUT/_emosphere; knows nothing of audio."""

    out: Location
    fence: Fence | None = None
    """Asked before every write; a ledger without one only reads."""

    @property
    def home(self) -> Location:
        return self.out.child(HOME)

    @property
    def lease(self) -> Location:
        """Folder of the records of who may write; see pipelines/output/lease.py."""
        return self.home.child("lease")

    @property
    def snapshot(self) -> Location:
        """What points at the versions that readers see; see pipelines/output/snapshot.py."""
        return self.home.child("snapshot.json")

    @property
    def writing(self) -> Fence:
        """What every write goes through."""
        if self.fence is None:
            raise AssertionError("a ledger that was not opened with the lease writes nothing")
        return self.fence

    # Where the work stands

    def state(self) -> State:
        """Raises UsageError as :func:`read_state`."""
        return read_state(self.home)

    def change(self, change: Callable[[State], State]) -> None:
        """Replace the state by what ``change`` makes of it."""

        def make() -> bytes:
            before = self.state()
            return state_bytes(replace(change(before), number=self.writing.number, change=before.change + 1))

        self.writing.rewrite(self.home.child(STATE_FILE), make)

    # Unfinished runs

    def begun(self, key: str) -> Begun | None:
        """The run that the same command left unfinished."""
        return self.state().unfinished.get(key)

    def begin(self, header: RunHeader) -> None:
        """Note that this command has a run, before its plan is written. Raises UsageError as :meth:`check_id_key`."""
        self.writing.create(self.home.child("identity.json"), json_bytes({"id_key": header.id_key}))
        self.check_id_key(header.id_key)
        begun = Begun(run_id=header.run_id, dt=header.dt, started_at=header.started_at)
        self.change(lambda state: state.with_run(header.key, begun))

    def check_id_key(self, fingerprint: str | None) -> None:
        """Raise UsageError if the ids of this OUT were made with another key, or one with and one without."""
        try:
            before = json.loads(self.home.child("identity.json").read_bytes())["id_key"]
        except ABSENT:
            if fingerprint is None or not self.snapshot.exists():
                return
            before = None
        if before != fingerprint:
            made, given = (
                f"with the key of fingerprint {one}" if one else "without a key" for one in (before, fingerprint)
            )
            raise UsageError(
                f"{self.out.uri}: its ids were made {made}, and this command would make them {given}: every recording "
                "would stand there twice. Set EMOSPHERE_ID_KEY as it was, or choose another OUT."
            )

    def refuse(self, header: RunHeader) -> None:
        """Note that the run is scored and was not published, for its failures."""
        self.change(lambda state: state.with_run(header.key, state.unfinished[header.key]._replace(is_refused=True)))

    def end(self, header: RunHeader) -> None:
        """The run is over, published or not; its plan and staging are rubbish from here on."""
        self.change(lambda state: replace(state.with_run(header.key, None), publishing=None, files=()))
        self.writing.remove(self.run(header.run_id))

    def header(self, run_id: str) -> RunHeader | None:
        """Header of a run whose plan is complete, else None. Raises UsageError for one of another version's fields."""
        numbers = [begun.header for begun in self.state().unfinished.values() if begun.run_id == run_id]
        if not numbers or numbers[0] is None:
            return None
        file = self._header(run_id, numbers[0])
        try:
            return RunHeader(**json.loads(file.read_bytes()))
        except ABSENT:  # somebody took the advice below, and removed it
            return None
        except TypeError as error:
            raise UsageError(
                f"{file.uri}: another version of emosphere wrote it ({error}). {self.advice(run_id)}"
            ) from error

    def advice(self, run_id: str) -> str:
        """What to do about an unfinished run that another version of emosphere began."""
        if self.state().publishing == run_id:  # part of it is in the tables
            return f"Finish run {run_id} with that version, or score into a new OUT."
        return f"Finish run {run_id} with that version, or remove {self.run(run_id).uri} and score anew what it scored."

    def write_header(self, header: RunHeader) -> None:
        """From here on the run has this plan."""
        number = self.writing.number
        self.writing.create(self._header(header.run_id, number), json_bytes(asdict(header)))
        self.change(lambda state: state.with_run(header.key, state.unfinished[header.key]._replace(header=number)))

    # A run that is being published: whoever comes next, with whatever command, first brings it to its end

    def mark_publishing(self, run_id: str, files: set[str]) -> None:
        """Name a run, and the published files that it is about to write, beside those that it may have written."""
        self.change(lambda state: replace(state, publishing=run_id, files=tuple(sorted(files.union(state.files)))))

    def publishing(self) -> RunHeader | None:
        """Header of the run that died while its rows were put into the tables. Raises UsageError as :meth:`header`."""
        run_id = self.state().publishing
        return None if run_id is None else self.header(run_id)

    # Plan and staging: one object per part and holder, never changed but by an erasure

    def write_plan_part(self, run_id: str, part: int, table: pa.Table) -> None:
        self.writing.create(self._part(run_id, "plan", part, self.writing.number), parquet_bytes(table))

    def plan_part(self, header: RunHeader, part: int) -> pa.Table:
        return read_parquet(self.plan_file(header, part))

    def plan_file(self, header: RunHeader, part: int) -> Location:
        """Where a part of a complete plan is."""
        number = max((first, number) for first, number in header.planned if first <= part)[1]
        return self._part(header.run_id, "plan", part, number)

    def write_staged_part(self, run_id: str, part: int, table: pa.Table) -> None:
        """Keep what was scored of a part."""
        self.writing.create(self._part(run_id, "staging", part, self.writing.number), parquet_bytes(table))

    def staged_parts(self, run_id: str, state: State | None = None) -> dict[int, Location]:
        """What counts as scored: of each part the latest, if the last erasure came before it or has seen it.

        ``state``: the one to go by, if it is known.
        """
        erased = (state or self.state()).erased
        seen = self._seen_by_erasure(run_id, erased)
        folder, counting = self.run(run_id).child("staging"), list[tuple[int, int, str]]()
        for path in folder.files():
            name = path.rpartition("/")[2]
            numbers = _PART.fullmatch(name)
            if numbers and (int(numbers[2]) >= erased or name in seen):
                counting.append((int(numbers[1]), int(numbers[2]), path))
        return {part: Location(folder.fs, path) for part, _, path in sorted(counting)}

    def files_of(self, begun: Begun, state: State) -> set[str]:
        """Paths of an unfinished run that count: header, plan, what is staged, and what an erasure noted of that.

        Raises UsageError as :meth:`header`.
        """
        header = self.header(begun.run_id)
        files = [self._seen(begun.run_id, state.erased), *self.staged_parts(begun.run_id, state).values()]
        if header is not None and begun.header is not None:
            files += [self._header(begun.run_id, begun.header)]
            files += [self.plan_file(header, part) for part in range(header.num_parts)]
        return {file.path for file in files}

    def note_seen(self, run_id: str, staged: Iterable[Location]) -> None:
        """Our erasure has looked through these staged parts of a run: they count, others of older holders do not."""
        names = sorted(file.path.rpartition("/")[2] for file in staged)
        self.writing.create(self._seen(run_id, self.writing.number), json_bytes(names))

    def write_sign_of_life(self, run_id: str, part: int, cells: int) -> None:
        sign = self.run(run_id).child("alive", f"part-{part:06d}.{self.writing.number}")
        with self.writing.held():
            sign.write_bytes(str(cells).encode())

    def signs_of_life(self, run_id: str) -> dict[str, bytes]:
        """What the scorers of long parts wrote last: it changes while they get on."""
        folder = self.run(run_id).child("alive")
        return {path: Location(folder.fs, path).read_bytes() for path in folder.files()}

    # Published state

    def published_columns(self, model_partition: str, columns: list[str]) -> Iterator[tuple[str, pa.RecordBatchReader]]:
        """``(dt, rows)`` of each file of ``recordings`` under a model: these columns only, a few rows at a time.

        Raises UsageError for a file with other columns than this version writes.
        """
        for dt, location in self.published("recordings", model_partition):
            with explained(f"read {location.uri}", absence=False), location.fs.open(location.path, "rb") as file:
                table = pq.ParquetFile(file)
                check_columns(location, table.schema_arrow, arrow_schema("recordings"), NEW_OUT)
                schema = pa.schema([table.schema_arrow.field(name).with_metadata(None) for name in columns])
                batches = (
                    pa.record_batch([batch.column(name) for name in columns], schema=schema)
                    for batch in table.iter_batches(BATCH_ROWS, columns=columns)
                )
                yield dt, pa.RecordBatchReader.from_batches(schema, batches)

    def published(self, table: str, model_partition: str) -> Iterator[tuple[str, Location]]:
        """``(dt, file)`` of each published file of a table under one model."""
        root = self.out.child(table)
        for path in root.files():
            *_, dt, model, name = path.split("/")
            if model == f"model={model_partition}" and name.startswith("part-") and name.endswith(".parquet"):
                yield dt.removeprefix("dt="), Location(root.fs, path)

    def result(self, run_id: str) -> Location:
        """What a command reported of a run last."""
        return self.home.child("runs", f"{run_id}.json")

    def write_result(self, run_id: str, result: dict[str, Any]) -> None:
        self.writing.write(self.result(run_id), json_bytes(result))

    def renew_result(self, run_id: str) -> None:
        """What is reported of an unfinished run, under our number: what its last holder still writes comes too late."""

        def make() -> bytes:
            try:
                result = json.loads(self.result(run_id).read_bytes())
            except ABSENT:
                error = "The command was cut off; the same command resumes."
                result = {"run_id": run_id, "error": error, "exit_code": MachineError.exit_code}
            return json_bytes(result | {"holder": self.writing.number})

        self.writing.rewrite(self.result(run_id), make)

    def last_run_id(self, key: str) -> str | None:
        """Run that the same command reported last."""
        names = [path.rpartition("/")[2] for path in self.home.child("runs").files()]
        results = sorted(name for name in names if name.endswith(f"-{key[:8]}.json"))
        return results[-1].removesuffix(".json") if results else None

    def run(self, run_id: str) -> Location:
        """Folder of a run's plan and staging."""
        return self.home.child("runs", run_id)

    def _header(self, run_id: str, number: int) -> Location:
        return self.run(run_id).child(f"run.{number}.json")

    def _seen(self, run_id: str, number: int) -> Location:
        return self.run(run_id).child(f"seen.{number}.json")

    def _seen_by_erasure(self, run_id: str, number: int) -> set[str]:
        """Names of the staged parts through which the erasure of a holder has looked."""
        try:
            return set(json.loads(self._seen(run_id, number).read_bytes()))
        except ABSENT:
            return set()

    def _part(self, run_id: str, kind: str, part: int, number: int) -> Location:
        return self.run(run_id).child(kind, f"part-{part:06d}.{number}.parquet")


def command_key(**parts: Any) -> str:
    """Digest of all that makes two commands the same."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def new_run_id(key: str, now: datetime.datetime) -> str:
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z-{key[:8]}"


def parquet_bytes(table: pa.Table, compression: str = "zstd") -> bytes:
    """The table as a Parquet file in memory."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression)
    return buffer.getvalue()


def parquet_files(folder: Location) -> Iterator[Location]:
    """Every Parquet file below a folder."""
    for path in folder.files():
        if path.endswith(".parquet"):
            yield Location(folder.fs, path)


def read_parquet(location: Location, columns: list[str] | None = None) -> pa.Table:
    """One Parquet file, whole; partition folders in its path are not read as columns."""
    with explained(f"read {location.uri}", absence=False), location.fs.open(location.path, "rb") as file:
        return pq.ParquetFile(file).read(columns=columns)


def json_bytes(value: Any) -> bytes:
    """A record as it is stored."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
