"""Every column of every table: name, type, unit, meaning. The single source; the page and the files follow it."""

from functools import partial
from typing import Final, Literal, NamedTuple

import pyarrow as pa

SCHEMA_VERSION: Final = 1
"""Raised when the meaning of a column changes; columns are never taken away. See the change log in docs/tables.md."""


Origin = Literal["run", "audio", "model", "order", "unfilled", "count"]
"""What a value follows from: the ``run`` (its plan, its command, its clock), the ``audio`` of a segment, the ``model``
that scores it (null where no head of it answers that), the ``order`` of a recording's segments, or the ``count`` of a
run's recordings. ``unfilled``: from nothing yet, it is null. The columns of ``recordings`` are not told apart.
"""


class Column(NamedTuple):
    """One column of a published table."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    origin: Origin = "run"
    is_sort_key: bool = False
    """Whether the rows of a published file are sorted by it, after the sort keys before it."""

    @property
    def field(self) -> pa.Field:
        """The column in an Arrow schema, meaning and unit in its metadata."""
        metadata = {"meaning": self.meaning} | ({"unit": self.unit} if self.unit else {})
        return pa.field(self.name, self.type, self.nullable, metadata)


_key = partial(Column, is_sort_key=True)
_audio, _model = partial(Column, origin="audio"), partial(Column, origin="model", nullable=True)
_order, _unfilled = partial(Column, origin="order"), partial(Column, origin="unfilled")
_count = partial(Column, origin="count")


_string, _bool, _i32, _i64, _f32, _f64 = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64()
_timestamp = pa.timestamp("us", tz="UTC")

SEGMENTS: Final = (
    _key("recording_id", _string, "Identity: first 32 hex digits of the sha256 of its URI, keyed where a key is set"),
    Column("source_uri", _string, "Where the recording lies, absolute and unsigned; its keyed hash where a key is set"),
    _audio(
        "channel", _i32, "Channel of the recording, 0-based; two identical channels are channel 0", is_sort_key=True
    ),
    Column("role", _string, "Who speaks on this channel, as given by --roles", nullable=True),
    Column("speaker", _string, "Speaker label, where one was given", nullable=True),
    _order("segment_index", _i32, "Position within recording and channel, 0-based, by start"),
    _audio("start_ms", _i64, "First millisecond of the segment on the recording's own clock", "ms", is_sort_key=True),
    _audio("end_ms", _i64, "First millisecond after the segment", "ms"),
    _audio("speech_ms", _i64, "Time within the segment that holds speech", "ms"),
    _model("valence", _f32, "Perceived pleasantness: -1 unpleasant, 0 middle of the scale, 1 pleasant", "[-1, 1]"),
    _model("arousal", _f32, "Perceived activation: -1 calm, 0 middle of the scale, 1 excited", "[-1, 1]"),
    _model("dominance", _f32, "Perceived control: -1 weak, 0 middle of the scale, 1 strong", "[-1, 1]"),
    _model("radius", _f32, "Distance from the middle of the scale: strength", "[0, sqrt(3)]"),
    _model("azimuth_deg", _f32, "Angle from +arousal to +valence", "degrees, (-180, 180]"),
    _model("polar_deg", _f32, "Angle from +dominance", "degrees, [0, 180]"),
    _model("region", _i32, "Cell of the sphere, index into the file's region table"),
    _model("region_name", _string, "Name of the region; the 8 spell the signs of arousal, valence, dominance"),
    _model("region_prob", _f32, "The region head's calibrated probability of `region`", "[0, 1]"),
    _model("vad_radius_90", _f32, "Radius of the ball that holds the target with 90 %", "[0, sqrt(12)]"),
    _model("category", _string, "Most probable emotion category"),
    _model("category_prob", _f32, "Its calibrated probability", "[0, 1]"),
    _model("category_probs", _string, "All category probabilities", "JSON object"),
    _unfilled("intensity", _f32, "Perceived strength of the expression", "[0, 1]", nullable=True),
    _audio("confidence", _string, "`ok`, or `low` when the audio gives little to go by"),
    _audio("low_reason", _string, "Why confidence is low: short, clipped, quiet, noisy (comma-joined)", nullable=True),
    _audio("rms_db", _f32, "Level of the segment", "dB re full scale"),
    _audio("clipped_ratio", _f32, "Share of samples at full scale", "[0, 1]"),
    _audio("snr_db", _f32, "Speech level over the level of the pauses around it", "dB", nullable=True),
    _audio("bandwidth_hz", _f32, "Highest frequency that carries signal", "Hz", nullable=True),
    _unfilled("overlap", _bool, "Whether somebody else speaks at the same time", nullable=True),
    _unfilled("ood_score", _f32, "How unlike the training audio the segment is", "unitless, 0 = alike", nullable=True),
    Column("run_id", _string, "Run that scored this row"),
    Column("scored_at", _timestamp, "When the row was scored", "UTC"),
)
"""One row per stretch of speech that the model scored at once, at most ``max_s`` of ``[listen.segment]`` long."""

RECORDINGS: Final = (
    _key("recording_id", _string, "Identity: first 32 hex digits of the sha256 of its URI, keyed where a key is set"),
    Column("source_uri", _string, "Where the recording lies, absolute and unsigned; its keyed hash where a key is set"),
    Column("content_version", _string, "ETag of the object, else its size and time: changes when the content does"),
    Column("content_digest", _string, "sha256 of the content, where it was computed", "hex", nullable=True),
    Column("num_bytes", _i64, "Size of the encoded recording", "bytes", nullable=True),
    Column("modified_at", _timestamp, "Last change of the object", "UTC", nullable=True),
    Column("codec", _string, "Codec as the decoder names it", nullable=True),
    Column("sample_rate_hz", _i32, "Sample rate of the recording itself", "Hz", nullable=True),
    Column("num_channels", _i32, "Channels of the recording itself", nullable=True),
    Column("num_channels_skipped", _i32, "Channels not scored: refused by policy, or identical to an earlier one"),
    Column("duration_ms", _i64, "Length of what decoded", "ms", nullable=True),
    Column("status", _string, "`scored`, `no_speech`, `failed` or `skipped_policy`"),
    Column(
        "error_code",
        _string,
        "Why it failed, from the closed list; a scored row may say TRUNCATED or CORRUPT",
        nullable=True,
    ),
    Column("error_message", _string, "The same in words", nullable=True),
    Column("attempts", _i32, "How many runs have tried this version of the recording"),
    Column("num_segments", _i32, "Rows of this recording in `segments`"),
    Column("settings_digest", _string, "Digest of all settings that can change a row", "hex"),
    Column("attributes", _string, "Other columns of the manifest it came from", "JSON object", nullable=True),
    Column("run_id", _string, "Run that wrote this row"),
    Column("scored_at", _timestamp, "When the row was made", "UTC"),
)
"""One row per recording and model, failures included."""

RUNS: Final = (
    Column("run_id", _string, "Identity of the run: start time and digest of the command"),
    Column("dt", _string, "Partition that this run's first-time recordings went to"),
    Column("config", _string, "All settings of the run", "JSON object"),
    Column("settings_digest", _string, "Digest of the settings that can change a row", "hex"),
    Column("schema_version", _i32, "Version of these tables"),
    Column("code_version", _string, "Version of emosphere"),
    Column("model_name", _string, "Name of the model"),
    Column("model_digest", _string, "First 12 hex digits of the sha256 over config.json and model.safetensors", "hex"),
    Column("model_licence", _string, "Licence of the weights", nullable=True),
    Column("archives", _string, "What was scored", "JSON list"),
    Column("purpose", _string, "Why, as given by --purpose", nullable=True),
    Column("roles", _string, "Channel roles, as given by --roles", "JSON object", nullable=True),
    Column("exception", _string, "Why roles that policy forbids were scored, as given by --exception", nullable=True),
    _count("recordings", _i64, "Recordings selected: scored + no_speech + failed + skipped + skipped_policy"),
    _count("scored", _i64, "Recordings with scores"),
    _count("no_speech", _i64, "Recordings without speech"),
    _count("failed", _i64, "Recordings that failed, each with a reason in `recordings`"),
    _count("skipped", _i64, "Recordings that were finished before"),
    _count("skipped_policy", _i64, "Recordings that policy forbade to score, or that were erased before"),
    _count("segments", _i64, "Segments scored"),
    _count("audio_s", _f64, "Audio decoded, channels counted one by one, without those withheld by policy", "s"),
    _count("speech_s", _f64, "Speech scored", "s"),
    _count("wall_s", _f64, "Wall time of the command that finished the run", "s"),
    Column("started_at", _timestamp, "When the run first began", "UTC"),
    Column("ended_at", _timestamp, "When its rows were visible", "UTC"),
    Column("host", _string, "Versions of Python, Ray and torch, CPUs, accelerator", "JSON object"),
)
"""One row per run that did something."""

PARTITION: Final = "dt=YYYY-MM-DD/model=NAME-DIGEST/part-KK.parquet"

TABLES: Final = {"segments": SEGMENTS, "recordings": RECORDINGS, "runs": RUNS}


def columns_from(table: str, *origins: Origin) -> list[str]:
    """Names of a table's columns whose values follow from one of ``origins``, in the order of the table.

    >>> columns_from("segments", "order"), columns_from("runs", "count")[:3]
    (['segment_index'], ['recordings', 'scored', 'no_speech'])
    """
    return [column.name for column in TABLES[table] if column.origin in origins]


def sort_keys(table: str) -> list[str]:
    """Names of the columns that the rows of a published file are sorted by.

    >>> sort_keys("segments"), sort_keys("recordings")
    (['recording_id', 'channel', 'start_ms'], ['recording_id'])
    """
    return [column.name for column in TABLES[table] if column.is_sort_key]


def arrow_schema(table: str, file_metadata: dict[str, str] | None = None) -> pa.Schema:
    """Arrow schema of a table: meaning and unit in each field's metadata, ``file_metadata`` in the file's."""
    metadata = {"schema_version": str(SCHEMA_VERSION), "table": table, **(file_metadata or {})}
    return pa.schema([column.field for column in TABLES[table]], metadata=metadata)


def as_markdown() -> str:
    """The page docs/tables.md."""
    lines = [
        "# Tables",
        "",
        "Written from `emosphere/tables/schema.py` by `make docs`; a test compares.",
        "The same meanings and units stand in the Parquet field metadata,",
        "and scale, axes, region table, schema version and the licence of the weights in the file metadata.",
        "",
        "| table | path | one row per |",
        "| --- | --- | --- |",
        f"| `segments` | `OUT/segments/{PARTITION}` | stretch of speech scored at once |",
        f"| `recordings` | `OUT/recordings/{PARTITION}` | recording and model, failures included |",
        "| `runs` | `OUT/runs/RUN_ID.parquet` | run that did something |",
        "",
        "All rows of a recording, per table and model, lie in one file. `segments` is replaced before `recordings`:",
        "who sees a `recordings` row with status `scored` sees all its segments.",
        "A query by glob that is caught between two versions of a file (DuckDB opens each twice) fails rather than mix",
        "them: ask again, or ask `emosphere sql`, whose files are never replaced.",
        "That is why neighbouring versions are compressed by different codecs.",
    ]
    for table, columns in TABLES.items():
        lines += ["", f"## {table}", "", "| column | type | unit | null | meaning |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| `{c.name}` | {c.type} | {c.unit} | {'yes' if c.nullable else ''} | {c.meaning} |" for c in columns
        ]
    lines += [
        "",
        "## Change log",
        "",
        "| version | date | change |",
        "| --- | --- | --- |",
        "| 1 | 2026-11-21 | first |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
