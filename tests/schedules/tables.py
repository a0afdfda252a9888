"""What the tables must hold, at every step and at the end: nothing lost, nothing twice, nothing back, nothing half."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from emosphere.tables.identity import recording_id
from pipelines.erase.target import Target
from pipelines.output.forgotten import Forgotten
from tests.schedules.commands import DAY_S, UNIT_BYTES, Archive, marker, num_segments, uri

SNAPSHOT, ERASED = "_emosphere/snapshot.json", "_emosphere/erased.json"


class Wrong(AssertionError):
    """The tables hold what they must not, or lack what they must hold."""


class Tables:
    """What readers see below OUT, and what erasures promised."""

    def __init__(self, store: Any, archive: Archive) -> None:
        self.store, self.archive = store, archive
        self.promised = Forgotten()
        self._parsed: dict[tuple[str, Any], list[dict[str, Any]]] = {}
        self._versions: dict[str, int] = {}

    def reset(self) -> None:
        self.promised = Forgotten()
        self._parsed.clear()

    def look(self, changed: list[str]) -> None:
        """Look as a reader does, where what readers see has changed."""
        if any(path.startswith(("recordings/", "segments/", "_emosphere/tables/", SNAPSHOT)) for path in changed):
            files = self.store.files()
            self._check("glob", *self._by_glob(files), is_snapshot=False)
            self._check("sql", *self._by_snapshot(files), is_snapshot=True)

    def promise(self, target: Target, now_us: int) -> None:
        """An erasure said that it is done, at ``now_us`` of its own clock: what it was about stays away from now on.
        What is remembered of others, which died before they had done it, is theirs to promise.
        """
        remembered = self._forgotten()
        if target.recording is not None:
            mine = Forgotten(recordings=frozenset([target.recording]))
        elif target.uri is not None:
            mine = Forgotten(folders=frozenset([recording_id(target.uri)]))
        else:
            mine = Forgotten(modified_before_us=min(remembered.modified_before_us or 0, now_us - DAY_S * 1_000_000))
        if not (mine.recordings <= remembered.recordings and mine.folders <= remembered.folders):
            raise Wrong(f"forgot to remember {target}")
        self.promised = self.promised.joined(mine)
        self.look([SNAPSHOT])

    @property
    def has_promised(self) -> bool:
        """Whether an erasure came to its end."""
        return self.promised != Forgotten()

    def check_end(self) -> None:
        """All have ended, and one more command has run: the tables hold the archive, and nothing that is gone."""
        files = self.store.files()
        recordings, segments = self._by_glob(files)
        self._check("glob", recordings, segments, is_snapshot=False)
        found = Counter((row["recording_id"], row["content_version"]) for row in recordings)
        asked = self._forgotten()  # an erasure that died may have begun
        for name in self.archive.versions:
            one = recording_id(uri(name)), self.archive.version(name)
            number = found.pop(one, 0)
            modified_us = self.archive.modified_us(name)
            if number == 0 and not _holds(asked, uri(name), modified_us):
                raise Wrong(f"lost: recordings has no {name} {one[1]}")
            if number and _holds(self.promised, uri(name), None):
                raise Wrong(f"back: recordings has {name} {one[1]}")
            if _holds(asked, uri(name), modified_us) and not _holds(self.promised, uri(name), None):
                for version in self.archive.history[name]:  # its last score stays until the erasure is done
                    found.pop((recording_id(uri(name)), version), None)
        if found:
            raise Wrong(f"stale: recordings has {self._names(found)}")
        for run_id in {row["run_id"] for row in recordings}:
            if f"runs/{run_id}.parquet" not in files:
                raise Wrong(f"lost: runs has no row of {run_id}")
        by_snapshot = self._by_snapshot(files)
        if _key(by_snapshot[0]) != _key(recordings) or _key(by_snapshot[1]) != _key(segments):
            raise Wrong("sql does not see what a reader by glob sees")

    def check_traces(self) -> None:
        """After one more command that writes: nothing below OUT holds anything of what was erased."""
        for path, stamp in self.store.files().items():
            if path != ERASED:
                self._check_trace(path, stamp)

    def _check_trace(self, path: str, stamp: Any) -> None:
        """Raise Wrong where a file holds anything of an erased recording."""
        gone = [uri(name) for name in self.archive.versions]
        gone = [one for one in gone if _holds(self.promised, one, None)]
        words = [*gone, *map(recording_id, gone)]
        text = self.store.read(path).decode("latin-1")
        rows = self._rows(path, stamp) if path.endswith(".parquet") else []
        if any(word in text for word in words):
            raise Wrong(f"back: {path} names what was erased")
        for row in rows:
            values = [value for value in row.values() if isinstance(value, str)]
            if any(word in value for value in values for word in words):
                raise Wrong(f"back: {path} holds what was erased: {row}")

    def _by_glob(self, files: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        def rows(table: str) -> list[dict[str, Any]]:
            paths = [path for path in files if path.startswith(f"{table}/") and path.endswith(".parquet")]
            return [row for path in sorted(paths) if "/." not in path for row in self._rows(path, files[path])]

        return rows("recordings"), rows("segments")

    def _by_snapshot(self, files: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        versions = json.loads(self.store.read(SNAPSHOT))["files"] if SNAPSHOT in files else {}
        for version in versions.values():
            if version not in files:
                raise Wrong(f"lost: the snapshot points at {version}, which is not there")

        def rows(table: str) -> list[dict[str, Any]]:
            kept = [version for path, version in sorted(versions.items()) if path.startswith(f"{table}/")]
            return [row for version in kept for row in self._rows(version, files[version])]

        return rows("recordings"), rows("segments")

    def _check(
        self, reader: str, recordings: list[dict[str, Any]], segments: list[dict[str, Any]], *, is_snapshot: bool
    ) -> None:
        for identity, number in Counter(row["recording_id"] for row in recordings).items():
            if number > 1:
                raise Wrong(f"{reader}: {number} rows in recordings of {self._name(identity)}")
        there: dict[str, Counter[float]] = {}
        for segment in segments:
            there.setdefault(segment["recording_id"], Counter())[segment["valence"]] += 1
        for (identity, start), number in Counter((row["recording_id"], row["start_ms"]) for row in segments).items():
            if number > 1:
                raise Wrong(f"{reader}: {number} rows in segments of {self._name(identity)} at {start}")
        for row in recordings:
            if self._is_gone(row):
                raise Wrong(f"{reader}: back: recordings has {row['source_uri']}")
            found = there.get(row["recording_id"], Counter())
            version = row["content_version"]
            whole = {marker(version): row["num_segments"]}
            if found == whole:
                continue
            # A reader by glob may find the next version's segments before its row, but all of them.
            next_ones = [one for one in self._known(row["recording_id"]) if found == {marker(one[0]): one[1]}]
            if is_snapshot or not next_ones:
                raise Wrong(f"{reader}: half: {self._name(row['recording_id'])} has {dict(found)}, not {whole}")
        rows = {row["recording_id"] for row in recordings}
        for row in segments:
            if _holds(self.promised, row["source_uri"], None):
                raise Wrong(f"{reader}: back: segments has {row['source_uri']}")
            if is_snapshot and row["recording_id"] not in rows:
                raise Wrong(f"{reader}: half: {self._name(row['recording_id'])} has segments and no row")

    def _known(self, identity: str) -> Iterator[tuple[str, int]]:
        """Every version that a file of the archive ever had, and how many segments that has."""
        for name, versions in self.archive.history.items():
            if recording_id(uri(name)) == identity:
                for version in versions:
                    num_units = -(-int(version.partition("-")[0]) // UNIT_BYTES)
                    yield version, num_segments(version, num_units)

    def _is_gone(self, row: dict[str, Any]) -> bool:
        """Whether a row of ``recordings`` was promised away: by name, or since it was older than an erasure allowed."""
        if _holds(self.promised, row["source_uri"], None):
            return True
        scored_us, modified_us = (round(row[name].timestamp() * 1e6) for name in ("scored_at", "modified_at"))
        end_us = self.promised.modified_before_us
        return end_us is not None and scored_us < end_us and modified_us < end_us

    def _forgotten(self) -> Forgotten:
        from emosphere.store import locate
        from pipelines.output.forgotten import read_forgotten

        return read_forgotten(locate(self.store.out).child("_emosphere"))

    def _rows(self, path: str, stamp: Any) -> list[dict[str, Any]]:
        key = path, stamp
        if key not in self._parsed:
            self._parsed[key] = pq.ParquetFile(io.BytesIO(self.store.read(path))).read().to_pylist()
        return self._parsed[key]

    def _name(self, identity: str) -> str:
        names = [name for name in self.archive.versions if recording_id(uri(name)) == identity]
        return names[0] if names else identity

    def _names(self, some: Counter[tuple[str, str]]) -> str:
        return ", ".join(f"{self._name(identity)} {version}" for identity, version in some.elements()) or "nothing"


def _holds(forgotten: Forgotten, source_uri: str, modified_us: int | None) -> bool:
    return forgotten.holds(recording_id(source_uri), source_uri, modified_us)


def _key(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)
