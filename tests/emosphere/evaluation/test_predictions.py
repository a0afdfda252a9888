"""The table of answers has a row per clip, typed and explained."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq
import torch

from emosphere.clips.manifest import Clip
from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.predictions import PREDICTIONS, predictions_parquet
from emosphere.geometry import region_of


def test_rows_are_clips_and_columns_say_what_they_mean(answered: AnsweredClips) -> None:
    table = pq.read_table(io.BytesIO(predictions_parquet(answered)))
    assert table.column_names == [column.name for column in PREDICTIONS]
    assert all(field.metadata[b"meaning"] for field in table.schema)
    assert table["uri"].to_pylist() == [clip.uri for clip in answered.clips]
    np.testing.assert_allclose(table["valence"].to_numpy(), answered.answers["vad"][:, 0], atol=1e-7)
    vad, probs = answered.answers["vad"], answered.answers["region"]
    np.testing.assert_array_equal(table["region"].to_numpy(), region_of(torch.from_numpy(vad)).numpy())
    row = 3
    assert table["region_prob"][row].as_py() == probs[row, table["region"][row].as_py()]
    assert table["region_head"][row].as_py() == probs[row].argmax()
    np.testing.assert_array_equal(table["region_head_prob"].to_numpy(), probs.max(axis=1))
    assert (table["region_head_prob"].to_numpy() > table["region_prob"].to_numpy()).any()


def test_a_signature_in_a_url_stays_out(answered: AnsweredClips) -> None:
    signed = dataclasses.replace(answered.clips[0], uri="https://ann:pw@host/a.wav?X-Amz-Signature=f00")
    content = predictions_parquet(dataclasses.replace(answered, clips=(signed, *answered.clips[1:])))
    assert pq.read_table(io.BytesIO(content))["uri"][0].as_py() == "https://host/a.wav"


def test_what_is_not_there_is_null(
    make: Callable[..., AnsweredClips],
    answered: AnsweredClips,
    unrate: Callable[[AnsweredClips, int, range], tuple[Clip, ...]],
) -> None:
    table = pq.read_table(io.BytesIO(predictions_parquet(make(head=False, clips=unrate(answered, 2, range(5))))))
    assert table["dominance_target"].null_count == table["region_target"].null_count == 5
    assert table["region_prob"].null_count == table["region_head"].null_count == 120
    assert table["region"].null_count == 0
