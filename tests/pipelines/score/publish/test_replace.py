"""Several files per partition: a recording has its place in one of them, and keeps it."""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile

from emosphere.store import locate
from emosphere.tables.identity import recording_id
from pipelines.erase.command import erase
from pipelines.erase.target import Target
from pipelines.output.forgotten import Forgotten, remember
from pipelines.output.ledger import Ledger
from pipelines.score.command import score
from pipelines.score.publish import replace as publishing
from pipelines.score.request import ScoreRequest
from tests.pipelines.headers import open_ledger
from tests.rounding import assert_same_rows


def request_for(archive: Path, out: Path) -> ScoreRequest:
    return ScoreRequest(archives=(str(archive),), out=str(out), dt="2026-11-20")


def homes(out: Path, table: str) -> dict[str, set[str]]:
    """Files that hold rows of each recording."""
    names: dict[str, set[str]] = {}
    for path in sorted((out / table).rglob("*.parquet")):
        for identity in pq.ParquetFile(path).read(["recording_id"]).column(0).to_pylist():
            names.setdefault(identity, set()).add(path.name)
    return names


def die(*args: object) -> None:
    raise KeyboardInterrupt


def test_a_recording_has_one_file_of_many_and_keeps_it(archive, tmp_path, rows, voice, monkeypatch):
    score(request_for(archive, tmp_path / "one"))
    # So many files that six recordings, whose ids follow from this test's folder, never all fall into one.
    monkeypatch.setattr(publishing, "FILE_BYTES", 20)
    out = tmp_path / "many"
    score(request_for(archive, out))
    names = {name: sorted(path.name for path in (out / name).rglob("*.parquet")) for name in ("segments", "recordings")}
    assert names["segments"] == names["recordings"]
    assert len(names["segments"]) > 20
    for table in names:
        assert_same_rows(rows(out, table), rows(tmp_path / "one", table))
        assert all(len(files) == 1 for files in homes(out, table).values())
    assert all(homes(out, "recordings")[identity] == files for identity, files in homes(out, "segments").items())
    assert len(set.union(*homes(out, "recordings").values())) > 1

    before = homes(out, "recordings")
    monkeypatch.setattr(publishing, "FILE_BYTES", 1)  # what was chosen once stays
    soundfile.write(archive / "a.wav", voice[: 16 * 5_000], 16_000)
    assert score(request_for(archive, out))["scored"] == 1
    assert homes(out, "recordings") == before
    assert sorted(path.name for path in (out / "segments").rglob("*.parquet")) == names["segments"]


def test_every_file_of_a_new_partition_is_there_even_if_empty(archive, tmp_path, monkeypatch):
    """Else a reader could not tell an empty file from one that is still to come."""
    monkeypatch.setattr(publishing, "FILE_BYTES", 20)
    score(request_for(archive, tmp_path / "out"))
    sizes = [pq.ParquetFile(path).metadata.num_rows for path in (tmp_path / "out/recordings").rglob("*.parquet")]
    assert len(sizes) > sum(sizes) == 6


def test_what_another_was_about_to_write_is_written_anew(archive, tmp_path, voice, monkeypatch):
    """Though the run that is ended holds nothing of it: else that one's write, on its way, would find what it read."""
    out, real = tmp_path / "out", Ledger.mark_publishing
    score(replace(request_for(archive, out), dt="2026-11-19"))
    [other] = (out / "recordings/dt=2026-11-19").rglob("*.parquet")
    soundfile.write(archive / "late.wav", voice[: 16 * 5_000], 16_000)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        also = {str(other.relative_to(out))}
        patch.setattr(Ledger, "mark_publishing", lambda ledger, run_id, files: real(ledger, run_id, files | also))
        patch.setattr(publishing, "_replace", die)
        score(request_for(archive, out))
    before = other.read_bytes()
    assert score(request_for(archive, out))["scored"] == 1
    assert other.read_bytes() != before
    assert pq.read_table(other).equals(pq.read_table(io.BytesIO(before)))


def test_what_the_list_of_the_erased_names_is_not_published(archive, tmp_path, rows, monkeypatch):
    """Though a part that counts holds it: the list may arrive when all is staged."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "mark_publishing", die)
        score(request_for(archive, out))
    gone = recording_id(locate(str(archive / "a.wav")).uri)
    remember(open_ledger(locate(str(out))), Forgotten(recordings=frozenset({gone})))
    score(request_for(archive, out))
    recordings = rows(out, "recordings")
    assert (len(recordings), gone in set(recordings["recording_id"])) == (5, False)


def test_an_erasure_ends_the_publishing_of_the_dead_first(archive, tmp_path, rows, monkeypatch):
    """Else a write of theirs would find the file that it read, and bring back what was erased."""
    out, real = tmp_path / "out", publishing._replace
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "_replace", lambda *args: real(*args) if args[2] == "segments" else die())
        score(request_for(archive, out))
    assert not (out / "recordings").exists()
    erase(str(out), Target(uri=locate(str(archive / "a.wav")).uri))
    assert len(rows(out, "recordings")) == 5
    assert Ledger(locate(str(out))).state().publishing is None
