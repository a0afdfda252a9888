"""Tables that any SQL engine reads."""

import pyarrow as pa
import pytest

from emosphere.tables.schema import RECORDINGS, SEGMENTS, TABLES, arrow_schema, columns_from

PLAIN = {pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us", tz="UTC")}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_plain_type_and_a_meaning(table):
    for column in TABLES[table]:
        assert column.type in PLAIN
        assert column.meaning
        assert column.unit or not pa.types.is_floating(column.type)


def test_the_columns_are_those_of_the_contract():
    assert [column.name for column in SEGMENTS] == [
        "recording_id",
        "source_uri",
        "channel",
        "role",
        "speaker",
        "segment_index",
        "start_ms",
        "end_ms",
        "speech_ms",
        "valence",
        "arousal",
        "dominance",
        "radius",
        "azimuth_deg",
        "polar_deg",
        "region",
        "region_name",
        "region_prob",
        "vad_radius_90",
        "category",
        "category_prob",
        "category_probs",
        "intensity",
        "confidence",
        "low_reason",
        "rms_db",
        "clipped_ratio",
        "snr_db",
        "bandwidth_hz",
        "overlap",
        "ood_score",
        "run_id",
        "scored_at",
    ]
    assert [column.name for column in RECORDINGS] == [
        "recording_id",
        "source_uri",
        "content_version",
        "content_digest",
        "num_bytes",
        "modified_at",
        "codec",
        "sample_rate_hz",
        "num_channels",
        "num_channels_skipped",
        "duration_ms",
        "status",
        "error_code",
        "error_message",
        "attempts",
        "num_segments",
        "settings_digest",
        "attributes",
        "run_id",
        "scored_at",
    ]


def test_fields_and_files_carry_their_meaning():
    schema = arrow_schema("segments", {"scale": "centred"})
    assert schema.field("start_ms").metadata[b"unit"] == b"ms"
    assert schema.metadata[b"schema_version"] == b"1"
    assert schema.metadata[b"scale"] == b"centred"


def test_a_column_of_segments_says_what_its_values_follow_from():
    assert columns_from("segments", "run") == [
        "recording_id", "source_uri", "role", "speaker", "run_id", "scored_at"
    ]  # fmt: skip
    assert columns_from("segments", "model") == [
        "valence", "arousal", "dominance", "radius", "azimuth_deg", "polar_deg", "region", "region_name", "region_prob",
        "vad_radius_90", "category", "category_prob", "category_probs",
    ]  # fmt: skip
    assert columns_from("segments", "unfilled") == ["intensity", "overlap", "ood_score"]
    assert columns_from("segments", "count") == []
    assert all(column.nullable for column in SEGMENTS if column.origin in ("unfilled", "model"))
