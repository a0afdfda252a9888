"""One row per clip, its targets and the model's answers, as a Parquet table."""

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.evaluation.answered import AnsweredClips
from emosphere.store import unsigned
from emosphere.tables.schema import Column
from emosphere.tasks.classes import ClassesTask
from emosphere.tasks.rated import RatedTask
from emosphere.tasks.region import RegionTask
from emosphere.tasks.task import Columns
from emosphere.tasks.vad import VadTask
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
"""Columns of every predictions.parquet; what the model does not answer is null. Its other heads' columns follow."""


def predictions_parquet(answered: AnsweredClips) -> bytes:
    """Bytes of the table, rows in the order of the manifest."""
    columns_of: dict[str, Any] = {
        "uri": [unsigned(clip.uri) for clip in answered.clips],
        "start_ms": [clip.start_ms for clip in answered.clips],
        "speaker": [clip.speaker for clip in answered.clips],
        "corpus": [clip.corpus for clip in answered.clips],
        "category": [clip.category for clip in answered.clips],
        "weak": [clip.weak for clip in answered.clips],
        "duration_s": answered.duration_s,
        "level_db": answered.level_db,
        **_point_and_region(answered),
    }
    nothing = [None] * len(answered.clips)
    columns = []
    for column in PREDICTIONS:
        # A model that answers all has a schema in which only labels may be missing.
        columns.append(column if column.name in columns_of else column._replace(nullable=True))
        columns_of.setdefault(column.name, nothing)
    for column, values in _other_heads(answered):
        if column.name in columns_of:
            column = column._replace(name=f"{column.name}_answer")
        columns.append(column)
        columns_of[column.name] = values
    arrays = [pa.array(columns_of[column.name], column.type, from_pandas=True) for column in columns]
    schema = pa.schema([column.field for column in columns])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def _point_and_region(answered: AnsweredClips) -> dict[str, Any]:
    """What of it is known or answered."""
    published: Columns = {}
    for head, task in answered.tasks.items():
        published |= task.columns(answered.published, head)
    values: dict[str, Any] = {
        name: published[name] for name in (*VAD_DIMS, "region", "region_name", "region_prob") if name in published
    }
    for head, task in answered.questions.items():
        if isinstance(task, VadTask):
            values |= {f"{dim}_target": targets for dim, targets in _rated_targets(answered, head).items()}
        elif isinstance(task, RegionTask):
            values["region_target"] = _or_null(*task.labels(answered.clips))
            if head in answered.answers:
                values["region_head"] = answered.answers[head].argmax(axis=1)
                values["region_head_prob"] = answered.answers[head].max(axis=1)
    return values


def _other_heads(answered: AnsweredClips) -> Iterator[tuple[Column, Any]]:
    """Target and answer of every other head, with what they mean."""
    for head, task in answered.tasks.items():
        answers = answered.answers[head]
        if isinstance(task, RatedTask) and not isinstance(task, VadTask):
            unit = f"[{task.lowest:g}, {task.highest:g}]"
            for place, (name, targets) in enumerate(_rated_targets(answered, head).items()):
                yield Column(f"{name}_target", _f64, f"Wanted {name}; null: unrated", unit, True), targets
                yield Column(name, _f32, f"Answered {name}, clipped", unit), answers[:, place]
        elif isinstance(task, ClassesTask) and not isinstance(task, RegionTask):
            names = np.array(task.classes, dtype=object)
            true, is_known = task.labels(answered.clips)
            target = Column(f"{head}_target", _string, f"Wanted {task.noun}; null: not known", nullable=True)
            yield target, _or_null(names[true], is_known)
            yield Column(f"{head}_head", _string, f"What the {head} head favours"), names[answers.argmax(axis=1)]
            yield Column(f"{head}_head_prob", _f32, "Its probability", "[0, 1]"), answers.max(axis=1)


def _rated_targets(answered: AnsweredClips, head: str) -> dict[str, list[Any]]:
    """By dimension; None where nobody rated it."""
    values, is_known = answered.ratings(head)
    names = answered.dimension_names(head)
    return {name: _or_null(values[:, column], is_known[:, column]) for column, name in enumerate(names)}


def _or_null(values: npt.NDArray[Any], is_known: npt.NDArray[np.bool_]) -> list[Any]:
    return [value if known else None for value, known in zip(values.tolist(), is_known.tolist(), strict=True)]
