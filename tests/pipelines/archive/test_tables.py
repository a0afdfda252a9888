"""Tables with audio, and manifests."""

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.errors import BadRecording, UsageError
from emosphere.store import locate
from pipelines.archive import containers
from pipelines.archive.fetch import Fetcher, FetchLimits
from pipelines.archive.listing import list_archives
from pipelines.archive.members import ListLimits
from pipelines.archive.seal import UNSEALED
from tests.pipelines.archive.building import listed, member, touch


def test_values_of_a_table_with_audio_are_recordings_with_attributes(tmp_path):
    audio = pa.array([{"bytes": b"one", "path": "1.wav"}, {"bytes": b"two", "path": None}])
    pq.write_table(pa.table({"audio": audio, "call": ["0012", "0013"]}), tmp_path / "calls.parquet", row_group_size=1)
    recordings = listed(tmp_path)
    uri = f"file://{tmp_path}/calls.parquet"
    assert [recording.source_uri for recording in recordings] == [f"parquet://audio/{row}::{uri}" for row in range(2)]
    assert [json.loads(recording.attributes) for recording in recordings] == [{"call": "0012"}, {"call": "0013"}]
    fetcher = Fetcher(FetchLimits(), {})
    assert [Path(fetcher.local_path(recording)).read_bytes() for recording in recordings] == [b"one", b"two"]
    fetcher.close()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_lists_recordings_and_its_other_columns_travel(tmp_path, ending):
    touch(tmp_path / "in/a.wav")
    rows = {"uri": [str(tmp_path / "in/a.wav"), "in/a.wav", "gone.wav"], "call_id": ["007", "007", "008"]}
    manifest = tmp_path / f"list.{ending}"
    if ending == "csv":
        manifest.write_text("uri,call_id\n" + "\n".join(map(",".join, zip(*rows.values(), strict=True))) + "\n")
    else:
        pq.write_table(pa.table(rows), manifest)
    one, again, gone = listed(manifest)
    assert again == one
    assert one.source_uri == f"file://{tmp_path}/in/a.wav"
    assert json.loads(one.attributes) == {"call_id": "007"}
    assert gone.error_code == "NOT_FOUND"


def test_a_manifest_without_uri_is_refused_with_what_it_has(tmp_path):
    (tmp_path / "list.csv").write_text("path,call\na.wav,1\n")
    with pytest.raises(UsageError, match="needs a column 'uri'; found path, call"):
        listed(tmp_path / "list.csv")


def table_of_calls(path: Path, num_rows: int, num_bytes: int) -> bytes:
    """Two row groups of incompressible audio beside a key and a picture; the sound of the first row."""
    sounds = [os.urandom(num_bytes) for _ in range(num_rows)]
    columns = {
        "audio": pa.array([{"bytes": sound, "path": "x.wav"} for sound in sounds]),
        "call": [f"{number:04d}" for number in range(num_rows)],
        "picture": pa.array([[{"bytes": os.urandom(1000)}] for _ in sounds]),
    }
    # As writers that mind such values do; the usual page holds a thousand.
    page = {"write_batch_size": 1, "data_page_size": num_bytes, "use_dictionary": ["call"]}
    pq.write_table(pa.table(columns), path, row_group_size=num_rows // 2, **page)
    return sounds[0]


def test_a_table_on_s3_is_listed_without_its_audio(s3, requests, tmp_path):
    """And to fetch a value costs the bytes of a few values."""
    first = table_of_calls(tmp_path / "calls.parquet", 160, 100_000)
    s3.put(str(tmp_path / "calls.parquet"), "audio/tables/calls.parquet")
    requests.clear()
    recordings = listed("s3://audio/tables/calls.parquet")
    assert [json.loads(one.attributes) for one in recordings] == [{"call": f"{row:04d}"} for row in range(160)]
    assert requests["bytes"] < 400_000
    requests.clear()
    fetcher = Fetcher(FetchLimits(), {})
    assert Path(fetcher.local_path(recordings[0])).read_bytes() == first
    assert requests["bytes"] < 160 * 100_000 / 3
    fetcher.close()


def test_values_come_out_right_in_any_order(tmp_path):
    """Over batches and row groups too."""
    sounds = [f"sound {number}".encode() for number in range(100)]
    pq.write_table(pa.table({"audio": sounds}), tmp_path / "a.parquet", row_group_size=40)
    recordings = listed(tmp_path)
    order = [0, 1, 39, 40, 99, 98, 3, 41, 79, 80, 5, 5, 38]
    fetcher = Fetcher(FetchLimits(), {})
    assert [Path(fetcher.local_path(recordings[row])).read_bytes() for row in order] == [sounds[row] for row in order]
    fetcher.close()


def test_a_table_of_too_many_rows_is_one_refused_row(tmp_path):
    pq.write_table(pa.table({"audio": [b"sound"] * 21}), tmp_path / "many.parquet", row_group_size=5)
    for most, codes in ((20, ["REFUSED"]), (21, [None] * 21)):
        found = list(list_archives([str(tmp_path)], out=locate("/o"), limits=ListLimits(max_members=most)))
        assert [one.error_code for one in found] == codes
    assert found[0].member == "audio"


def test_values_too_large_for_memory_are_refused(tmp_path, monkeypatch):
    """Also those that unpack without end."""
    # Pages of different zeros: a dictionary would hold equal ones once.
    zeros = [bytes((8 << 20) + number) for number in range(10)]
    pq.write_table(pa.table({"audio": zeros}), tmp_path / "bomb.parquet", compression="zstd", use_dictionary=False)
    pq.write_table(pa.table({"audio": [os.urandom(5_000)]}), tmp_path / "large.parquet")
    recordings = listed(tmp_path)
    fetcher = Fetcher(FetchLimits(max_unpack_ratio=100.0), {})
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *args, **kwargs: pytest.fail("it was read"))
    with pytest.raises(BadRecording, match="taken for a bomb") as refused:
        fetcher.local_path(recordings[0])
    assert refused.value.code == "REFUSED"
    monkeypatch.setattr(containers, "LARGEST_VALUE", 4_000)
    with pytest.raises(BadRecording, match="more than the limit of 4000") as refused:
        fetcher.local_path(recordings[-1])
    assert refused.value.code == "REFUSED"
    fetcher.close()


def test_one_odd_row_of_a_manifest_is_a_row_and_ends_no_night(tmp_path):
    touch(tmp_path / "a.wav")
    odd = ["foo://x", "foo://name:secret@host/x?sig=secret", "http://[bad", "a.wav", "s3://", ".", "nul\0.wav"]
    pq.write_table(pa.table({"uri": odd, "call": [str(number) for number in range(7)]}), tmp_path / "list.parquet")
    found = listed(tmp_path / "list.parquet")
    assert [one.error_code for one in found] == ["UNSUPPORTED"] * 3 + [None] + ["UNSUPPORTED"] * 3
    assert [json.loads(one.attributes)["call"] for one in found] == [str(number) for number in range(7)]
    assert (found[0].source_uri, found[1].source_uri) == ("foo://x", "foo://host/x")
    assert "not a protocol" in found[0].error_message
    assert "secret" not in str([UNSEALED.cover(one).error_message for one in found])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_archive_files_that_a_manifest_names_are_opened(tmp_path, ending):
    with tarfile.open(tmp_path / "_shard.tar", "w") as archive:
        member(archive, "a.wav")
        member(archive, "a.json")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("b.wav", b"data")
    audio = pa.array([{"bytes": b"one", "path": None}])
    pq.write_table(pa.table({"audio": audio, "speaker": ["ann"]}), tmp_path / "c.parquet")
    pq.write_table(pa.table({"uri": ["a.wav"]}), tmp_path / "d.parquet")
    touch(tmp_path / "e.zip", b"no zip")
    rows = {"uri": ["_shard.tar", "b.zip", "c.parquet", "d.parquet", "e.zip"], "night": list("12345")}
    if ending == "csv":
        lines = ["uri,night", *(f"{uri},{night}" for uri, night in zip(*rows.values(), strict=True))]
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    else:
        pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    found = listed(tmp_path / f"list.{ending}")
    uri = f"file://{tmp_path}"
    assert {one.source_uri: one.error_code for one in found} == {
        f"tar://a.wav::{uri}/_shard.tar": None,
        f"zip://b.wav::{uri}/b.zip": None,
        f"parquet://audio/0::{uri}/c.parquet": None,
        f"{uri}/d.parquet": "UNSUPPORTED",
        f"{uri}/e.zip": "CORRUPT",
    }
    attributes = [json.loads(one.attributes) for one in found]
    assert attributes == [{"night": "1"}, {"night": "2"}, {"night": "3", "speaker": "ann"}, {"night": "4"},
                          {"night": "5"}]  # fmt: skip
