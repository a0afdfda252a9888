"""What is done and what is not: unfinished runs, their plans and staged results, under OUT/_emosphere."""

import datetime
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.errors import UsageError
from emosphere.store import ABSENT, Location, explained
from emosphere.tables.schema import arrow_schema
from pipelines.output.columns import NEW_OUT, check_columns

HOME = "_emosphere"
BATCH_ROWS = 65_536


@dataclass(kw_only=True, slots=True)
class RunHeader:
    """A run: what was asked for, and how its plan counts. Stored when the plan is complete; never changed after."""

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
    num_units: int = 0
    num_recordings: int = 0
    num_skipped: int = 0
    num_forgotten: int = 0
    num_bytes: int = 0
    file_metadata: dict[str, str] = field(default_factory=dict)

    @property
    def model_partition(self) -> str:
        return f"{self.model_name}-{self.model_digest}"


class Begun(NamedTuple):
    """A run that a command began and did not end; whether its plan is complete, its header tells."""

    run_id: str
    dt: str
    started_at: str
    """ISO time, UTC."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reads and writes below OUT/_emosphere; knows nothing of audio."""

    out: Location

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

    # Unfinished runs

    def begun(self, key: str) -> Begun | None:
        """The run that the same command left unfinished."""
        try:
            begun = json.loads(self._pointer(key).read_bytes())
        except ABSENT:
            return None
        return Begun(run_id=begun["run_id"], dt=begun["dt"], started_at=begun["started_at"])

    def begin(self, header: RunHeader) -> None:
        """Note that this command has a run, before its plan is written. Raises UsageError as :meth:`check_id_key`."""
        self.home.child("identity.json").create_bytes(json_bytes({"id_key": header.id_key}))
        self.check_id_key(header.id_key)
        begun = Begun(run_id=header.run_id, dt=header.dt, started_at=header.started_at)
        self._pointer(header.key).write_bytes(json_bytes(begun._asdict()))

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

    def remove_run(self, header: RunHeader) -> None:
        """The run is over: drop the pointer first, so that a crash here leaves rubbish, never a run without a plan."""
        self._pointer(header.key).remove()
        self._run(header.run_id).remove()

    def header(self, run_id: str) -> RunHeader | None:
        """Header of a run whose plan is complete, else None. Raises UsageError for one of another version's fields."""
        file = self._run(run_id).child("run.json")
        try:
            return RunHeader(**json.loads(file.read_bytes()))
        except ABSENT:
            return None
        except TypeError as error:
            raise UsageError(
                f"{file.uri}: another version of emosphere wrote it ({error}). {self.advice(run_id)}"
            ) from error

    def advice(self, run_id: str) -> str:
        """What to do about an unfinished run that another version of emosphere began."""
        if self._publishing_id() == run_id:  # part of it is in the tables
            return f"Finish run {run_id} with that version, or score into a new OUT."
        return (
            f"Finish run {run_id} with that version, or remove {self._run(run_id).uri} and score anew what it scored."
        )

    def write_header(self, header: RunHeader) -> None:
        self._run(header.run_id).child("run.json").write_bytes(json_bytes(asdict(header)))

    # A run that is being published: whoever comes next, with whatever command, first brings it to its end

    def mark_publishing(self, run_id: str) -> None:
        self.home.child("publishing.json").write_bytes(json_bytes({"run_id": run_id}))

    def publishing(self) -> RunHeader | None:
        """Header of the run that died while its rows were put into the tables. Raises UsageError as :meth:`header`."""
        run_id = self._publishing_id()
        return None if run_id is None else self.header(run_id)

    def unmark_publishing(self) -> None:
        self.home.child("publishing.json").remove()

    # Plan and staging: one object per part, replaced whole, so that writing one twice changes nothing

    def part(self, run_id: str, kind: str, part: int) -> Location:
        """File of a part of a run's ``plan``, or of its ``staging``: what was scored of it."""
        return self._run(run_id).child(kind, f"part-{part:06d}.parquet")

    def write_plan_part(self, run_id: str, part: int, table: pa.Table) -> None:
        self.part(run_id, "plan", part).write_bytes(parquet_bytes(table))

    def plan_part(self, run_id: str, part: int) -> pa.Table:
        return read_parquet(self.part(run_id, "plan", part))

    def write_staged_part(self, run_id: str, part: int, table: pa.Table) -> None:
        self.part(run_id, "staging", part).write_bytes(parquet_bytes(table))

    def staged_part(self, run_id: str, part: int) -> pa.Table:
        return read_parquet(self.part(run_id, "staging", part))

    def staged_parts(self, run_id: str) -> set[int]:
        folder = self._run(run_id).child("staging")
        return {int(path.rpartition("part-")[2].removesuffix(".parquet")) for path in folder.files() if "part-" in path}

    def write_sign_of_life(self, run_id: str, part: int, cells: int) -> None:
        self._run(run_id).child("alive", f"part-{part:06d}").write_bytes(str(cells).encode())

    def signs_of_life(self, run_id: str) -> dict[str, bytes]:
        """What the scorers of long parts wrote last: it changes while they get on."""
        folder = self._run(run_id).child("alive")
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

    def write_result(self, run_id: str, result: dict[str, Any]) -> None:
        self.home.child("runs", f"{run_id}.json").write_bytes(json_bytes(result))

    def exit_code(self, run_id: str) -> int | None:
        """Exit code that a command stored for this run."""
        try:
            code: int = json.loads(self.home.child("runs", f"{run_id}.json").read_bytes())["exit_code"]
        except ABSENT:
            return None
        return code

    def last_run_id(self, key: str) -> str | None:
        """Run that the same command reported last."""
        names = [path.rpartition("/")[2] for path in self.home.child("runs").files()]
        results = sorted(name for name in names if name.endswith(f"-{key[:8]}.json"))
        return results[-1].removesuffix(".json") if results else None

    def _publishing_id(self) -> str | None:
        try:
            return str(json.loads(self.home.child("publishing.json").read_bytes())["run_id"])
        except ABSENT:
            return None

    def _pointer(self, key: str) -> Location:
        return self.home.child("unfinished", f"{key}.json")

    def _run(self, run_id: str) -> Location:
        return self.home.child("runs", run_id)


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
