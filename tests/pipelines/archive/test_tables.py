"""Tables with audio, and manifests."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.errors import UsageError
from pipelines.archive.fetch import Fetcher, FetchLimits
from tests.pipelines.archive.building import listed, touch


def test_cells_of_a_table_with_audio_are_recordings_with_attributes(tmp_path):
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
