"""Erased is gone from every byte below OUT, stays gone, and no reader ever sees half a recording."""

import datetime
import json
import os
import shutil
import tempfile
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from emosphere.errors import UsageError
from emosphere.store import Location, locate
from emosphere.tables.identity import IdKey, recording_id
from pipelines.erase.command import Remains, erase
from pipelines.erase.proof import remains
from pipelines.erase.target import Matches, Target
from pipelines.output import erasure
from pipelines.output.forgotten import Forgotten, lineage, read_forgotten, remember
from pipelines.output.ledger import Ledger, parquet_bytes
from pipelines.score.command import score
from pipelines.score.request import ScoreRequest
from tests.pipelines.erase.erased import all_text, assert_whole, names, uri
from tests.pipelines.headers import open_ledger


def test_a_recording_goes_from_every_file_and_stays_gone(made, home):
    out, gone = home / "out", uri(made, "customer-17/b.flac")
    identity = recording_id(gone)
    assert identity in all_text(out)
    others = duckdb.read_parquet(f"{out}/segments/*/*/*.parquet").filter(f"recording_id <> '{identity}'").df()
    result = erase(str(out), Target(recording=identity), verify=True)
    assert (result["recordings"], result["verified"], result["remains"]) == (1, True, [])
    assert result["segments"] > 0
    everything = all_text(out)
    assert identity not in everything
    assert gone not in everything
    assert names(out) == {"customer-17/a.flac", "customer-170/c.flac", "d.flac"}
    left = duckdb.read_parquet(f"{out}/segments/*/*/*.parquet").df()
    keys = ["recording_id", "channel", "start_ms"]
    pd.testing.assert_frame_equal(
        left.sort_values(keys, ignore_index=True), others.sort_values(keys, ignore_index=True)
    )
    assert_whole(out)
    [run] = [row for path in (out / "runs").iterdir() for row in pq.ParquetFile(path).read().to_pylist()]
    assert (run["scored"], json.loads(run["archives"])[0]) == (4, "erased")
    before = all_but_holders(out)
    again = erase(str(out), Target(recording=identity), verify=True)
    assert (again["recordings"], again["verified"]) == (0, True)
    assert all_but_holders(out) == before, "twice is once"
    result = score(ScoreRequest(archives=(str(made / "archive/customer-17/b.flac"),), out=str(out)))
    assert (result["recordings"], result["skipped_policy"], result["scored"]) == (1, 1, 0)
    assert identity not in all_text(out)


def all_but_holders(out: Path) -> dict[Path, bytes | dict]:
    """Every file, but for what says who wrote here last."""
    ours, holder = ("/lease/", "/seen."), {"holder"}
    files = {
        path: path.read_bytes() for path in out.rglob("*") if path.is_file() and not any(map(str(path).count, ours))
    }
    for name, ours in (
        ("state.json", {"number", "change", "erased"}),
        ("snapshot.json", holder),
        ("erased.json", holder),
    ):
        stored = json.loads(files[out / "_emosphere" / name])
        files[out / "_emosphere" / name] = {key: value for key, value in stored.items() if key not in ours}
    return files


def test_published_files_keep_their_schema_and_metadata(made, home):
    out = home / "out"
    [path] = (out / "segments").rglob("*.parquet")
    before = pq.read_schema(path)
    erase(str(out), Target(uri=uri(made, "d.flac")))
    after = pq.read_schema(path)
    assert after.equals(before)
    others = {b"ARROW:schema": b"", b"holder": b"whoever wrote it last"}
    assert after.metadata | others == before.metadata | others
    assert after.field("valence").metadata[b"meaning"] == before.field("valence").metadata[b"meaning"]


def test_a_folder_goes_with_plans_and_staging_and_no_further(made, home):
    out = home / "out"
    folder = uri(made, "customer-17")
    result = erase(str(out), Target(uri=f"{made}/archive/customer-17/"), verify=True)
    assert result["recordings"] == 4  # a and b; e and broken were only staged
    assert names(out) == {"customer-170/c.flac", "d.flac"}
    assert folder + "/" not in all_text(out)
    assert folder + "0/" in all_text(out)
    result = score(ScoreRequest(archives=(str(made / "archive"),), out=str(out), dt="2026-11-21", max_error_rate=0.0))
    assert (result["scored"], result["failed"]) == (0, 0), "the run that was refused has nothing left to fail"
    assert folder + "/" not in all_text(out)
    assert not list(out.rglob("staging/*.parquet"))
    assert_whole(out)
    # What comes later below that folder is not scored either.
    listed, other = f"{folder}/new/z.wav", f"{folder}0/z.wav"
    forgotten = read_forgotten(Ledger(locate(str(out))).home)
    assert forgotten.holds(recording_id(listed), listed, None)
    assert not forgotten.holds(recording_id(other), other, None)


def test_a_speakers_recordings_go_whole(made, home):
    out = home / "out"
    assert "Ann" in all_text(out)
    result = erase(str(out), Target(speaker="Ann"), verify=True)
    assert (result["recordings"], result["verified"]) == (1, True)
    assert "d.flac" not in names(out)
    assert '"Ann"' not in all_text(out)


def test_what_a_killed_run_left_on_this_machine_goes_too(made, home, monkeypatch):
    left = home / "tmp" / "emosphere-fetch-7-abc"
    left.mkdir(parents=True)
    (left / "recording").write_bytes(b"a voice")
    monkeypatch.setattr(tempfile, "tempdir", str(left.parent))
    erase(str(home / "out"), Target(uri=uri(made, "customer-17")))
    assert not left.exists()


def test_a_dry_run_writes_nothing(made, home):
    out = home / "out"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    result = erase(str(out), Target(uri=uri(made, "customer-17")), dry_run=True)
    assert (result["recordings"], result["dry_run"]) == (4, True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["a text", "a name of a file", "an old version", "another column", "a leftover"])
def test_verify_finds_what_was_left_behind(made, home, place, monkeypatch):
    out, gone = home / "out", uri(made, "customer-17/b.flac")
    identity = recording_id(gone)
    if place == "a text":
        (out / "notes.log").write_text(f"see {gone}, please")
    elif place == "a name of a file":
        (out / f"{identity}.html").touch()
    elif place == "an old version":
        # as if versions were not tidied away
        [path] = (out / "recordings").rglob("*.parquet")
        shutil.copy(path, out / "old.copy")
        (out / "old.parquet").write_bytes(path.read_bytes())
    elif place == "another column":
        import pyarrow as pa

        (out / "x.parquet").write_bytes(parquet_bytes(pa.table({"x": [[{"deep": f"call {gone}"}]] * 3})))
    else:
        monkeypatch.setattr(erasure, "_blank", lambda *args: None)
        identity, gone = recording_id(uri(made, "customer-17/late/e.flac")), uri(made, "customer-17/late/e.flac")
    with pytest.raises(Remains) as found:
        erase(str(out), Target(uri=gone), verify=True)
    assert found.value.exit_code == 1
    assert found.value.result["verified"] is False
    assert len(found.value.result["remains"]) >= 1
    assert gone not in str(found.value)


def test_a_longer_name_that_begins_the_same_is_no_remainder(made, home):
    out = home / "out"
    (out / "notes.txt").write_text(uri(made, "customer-17/b.flac.bak"))
    assert erase(str(out), Target(uri=uri(made, "customer-17/b.flac")), verify=True)["verified"]


def aged(out: Path, name: str, days: int) -> None:
    """Make a recording's rows older, in the tables and their snapshot."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    for path in [*out.glob("recordings/*/*/*.parquet"), *out.glob("segments/*/*/*.parquet")]:
        table = pq.ParquetFile(path).read()
        rows = [row | ({"scored_at": then} if row["source_uri"].endswith(name) else {}) for row in table.to_pylist()]
        path.unlink()
        pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)


def test_retention_drops_old_scores_for_good(made, home):
    out, archive = home / "out", home / "archive"
    shutil.copytree(made / "archive/customer-170", archive)
    long_ago = datetime.datetime.now().timestamp() - 100 * 86_400
    os.utime(archive / "c.flac", (long_ago, long_ago))
    shutil.rmtree(out)
    night = ScoreRequest(archives=(str(archive),), out=str(out))
    assert score(night)["scored"] == 1
    assert erase(str(out), Target(older_than="90d"))["recordings"] == 0, "an old recording that was scored today stays"
    aged(out, "c.flac", 91)
    result = erase(str(out), Target(older_than="90d"), verify=True)
    assert (result["recordings"], result["verified"]) == (1, True)
    assert read_forgotten(Ledger(locate(str(out))).home).recordings == frozenset(), "not remembered one by one"
    again = score(night)
    assert (again["recordings"], again["skipped_policy"], again["scored"]) == (1, 1, 0)


def test_retention_remembers_by_id_what_a_date_cannot_tell(made, home):
    out = home / "out"
    aged(out, "d.flac", 91)  # its file is newer than that, as a clock that was wrong would have it
    erase(str(out), Target(older_than="90d"), verify=True)
    forgotten = read_forgotten(Ledger(locate(str(out))).home)
    assert forgotten.recordings == {recording_id(uri(made, "d.flac"))}


def test_with_a_key_the_uri_is_hashed_first(made, home, monkeypatch):
    monkeypatch.setenv("EMOSPHERE_ID_KEY", "sixteen bytes or more")
    key = IdKey(b"sixteen bytes or more")
    out = home / "keyed"
    archive = made / "archive/customer-170"
    assert score(ScoreRequest(archives=(str(archive),), out=str(out)))["scored"] == 1
    identity = recording_id(uri(made, "customer-170/c.flac"), key)
    assert identity in all_text(out)
    monkeypatch.delenv("EMOSPHERE_ID_KEY")
    with pytest.raises(UsageError, match="EMOSPHERE_ID_KEY"):
        erase(str(out), Target(uri=str(archive)))
    monkeypatch.setenv("EMOSPHERE_ID_KEY", "sixteen bytes or more")
    result = erase(str(out), Target(uri=str(archive)), verify=True)  # a folder, by listing it
    assert (result["recordings"], result["verified"]) == (1, True)
    assert identity not in all_text(out)
    assert score(ScoreRequest(archives=(str(archive),), out=str(out)))["skipped_policy"] == 1


def test_the_list_holds_ids_only_and_survives_a_round(tmp_path):
    ledger = open_ledger(locate(str(tmp_path)))
    one = Forgotten(recordings=frozenset(["a" * 32]), modified_before_us=5_000_000)
    other = Forgotten(folders=frozenset(["b" * 32]), modified_before_us=3_000_000)
    remember(ledger, one)
    remember(ledger, other)
    assert read_forgotten(ledger.home) == Forgotten(
        recordings=one.recordings, folders=other.folders, modified_before_us=5_000_000
    )
    assert "://" not in (tmp_path / "_emosphere/erased.json").read_text()


def test_members_belong_to_their_archive_file_and_its_folders():
    assert "s3://calls/x.zip" in lineage("zip://a.wav::s3://calls/x.zip")
    assert "s3://calls" in lineage("parquet://audio/3::s3://calls/t.parquet")
    old = Forgotten(modified_before_us=10)
    assert old.holds("x", "s3://b/a.wav", 9)
    assert not old.holds("x", "s3://b/a.wav", 10)
    assert not old.holds("x", "tar://a::s3://b/x.tar", 9), "its packer's time"
    assert not old.holds("x", "0123456789abcdef", 9), "a hash of a URI, which may be a member's"


@pytest.mark.parametrize(
    "words",
    [{}, {"recording": "a" * 32, "uri": "x"}, {"recording": "xyz"}, {"older_than": "90"}, {"older_than": "0d"}],
)
def test_a_target_is_exactly_one_and_well_formed(words):
    with pytest.raises(UsageError):
        Target(**words)


def test_everything_and_nothing_are_refused(made, home, tmp_path):
    with pytest.raises(UsageError, match="no tables there"):
        erase(str(tmp_path / "nowhere"), Target(recording="a" * 32))
    with pytest.raises(UsageError, match="everything"):
        erase(str(home / "out"), Target(uri="/"))


def test_the_same_on_s3(made, home, s3):
    s3.put(str(home / "out"), "tables/out", recursive=True)
    identity = recording_id(uri(made, "customer-17/b.flac"))
    result = erase("s3://tables/out", Target(recording=identity), verify=True)
    assert (result["recordings"], result["verified"]) == (1, True)
    assert {row["recording_id"] for row in _s3_rows(s3)} == {
        recording_id(uri(made, name)) for name in ("customer-17/a.flac", "customer-170/c.flac", "d.flac")
    }
    assert erase("s3://tables/out", Target(uri=uri(made, "customer-17")), verify=True)["recordings"] == 3
    assert len(_s3_rows(s3)) == 2


def _s3_rows(s3) -> list[dict]:
    [path] = s3.glob("tables/out/recordings/*/*/*.parquet")
    with s3.open(path) as file:
        return pq.ParquetFile(file).read().to_pylist()


def test_many_names_are_searched_word_by_word():
    matches = Matches(uris=frozenset(f"s3://b/{number}.wav" for number in range(60)))
    assert matches.are_named_in("s3://b/7.wav")
    assert matches.are_named_in("Could not read 's3://b/7.wav': gone")
    assert not matches.are_named_in("Could not read 's3://b/7.wav.bak': gone")


def test_a_proof_does_not_stumble_over_what_goes_while_it_looks(tmp_path, monkeypatch):
    """Every command that starts tries the storage with an object of its own, and removes it, without the lease."""
    out, files = locate(str(tmp_path)), Location.files
    probe = out.child("_emosphere", "probe-1", "object")
    probe.write_bytes(b"1")

    def and_then_it_goes(self):
        found = files(self)
        probe.remove()
        return found

    monkeypatch.setattr(Location, "files", and_then_it_goes)
    assert list(remains(out, Matches(), None)) == []
