"""One row per clip, its targets and the model's answers, as a Parquet table."""

import io
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.drawn_figures import named_regions
from emosphere.geometry import REGION_NAMES
from emosphere.store import unsigned
from emosphere.tables.schema import Column
from emosphere.tables.vad_columns import located
from emosphere.vad import VAD_DIMS

_string, _i64, _i32, _f32, _f64 = pa.string(), pa.int64(), pa.int32(), pa.float32(), pa.float64()

PREDICTIONS: Final = (
    Column("uri", _string, "Audio of the clip, as the manifest resolves it"),
    Column("start_ms", _i64, "First millisecond of the clip", "ms"),
    Column("speaker", _string, "Who speaks"),
    Column("corpus", _string, "Corpus"),
    Column("category", _string, "Emotion word of the manifest", nullable=True),
    Column("weak", pa.bool_(), "True: the target is the mean of an emotion word, not a rating of this clip"),
    Column("duration_s", _f64, "What was decoded of it", "s"),
    Column("level_db", _f64, "Level of it", "dB of full scale"),
    *(Column(f"{dim}_target", _f64, f"Wanted {dim}, centred; null: unrated", "[-1, 1]", True) for dim in VAD_DIMS),
    *(Column(dim, _f32, f"Answered {dim}, centred, clipped", "[-1, 1]") for dim in VAD_DIMS),
    Column("region_target", _i32, "Region of the target; null where it has none", nullable=True),
    Column("region", _i32, "Region of the answered VAD"),
    Column("region_name", _string, "Its name"),
    Column("region_prob", _f32, "The region head's probability of `region`", "[0, 1]", nullable=True),
    Column("region_head", _i32, "Region that the region head favours", nullable=True),
    Column("region_head_prob", _f32, "Its probability", "[0, 1]", nullable=True),
)
"""Columns of predictions.parquet."""

SCHEMA: Final = pa.schema(
    [
        pa.field(
            column.name,
            column.type,
            column.nullable,
            {"meaning": column.meaning} | ({"unit": column.unit} if column.unit else {}),
        )
        for column in PREDICTIONS
    ]
)


def predictions_parquet(answered: AnsweredClips) -> bytes:
    """Bytes of the table, rows in the order of the manifest."""
    named, probs = named_regions(answered)["head"], answered.region_probs
    columns = located(answered.vad.astype(np.float32), probs, answered.num_regions)
    target, true_region = answered.target, answered.true_region
    columns_of: dict[str, Any] = {
        "uri": [unsigned(clip.uri) for clip in answered.clips],
        "start_ms": [clip.start_ms for clip in answered.clips],
        "speaker": [clip.speaker for clip in answered.clips],
        "corpus": [clip.corpus for clip in answered.clips],
        "category": [clip.category for clip in answered.clips],
        "weak": [clip.weak for clip in answered.clips],
        "duration_s": answered.duration_s,
        "level_db": answered.level_db,
        **{f"{dim}_target": target[:, index] for index, dim in enumerate(VAD_DIMS)},
        **{dim: columns[dim] for dim in VAD_DIMS},
        "region_target": [None if region < 0 else region for region in true_region.tolist()],
        "region": columns["region"],
        "region_name": [REGION_NAMES[answered.num_regions][region] for region in columns["region"]],
        "region_prob": columns["region_prob"],
        "region_head": [None] * len(true_region) if named is None else named,
        "region_head_prob": [None] * len(true_region) if probs is None else probs.max(axis=1),
    }
    arrays = [pa.array(columns_of[column.name], column.type, from_pandas=True) for column in PREDICTIONS]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()
