"""Settings that would die in a worker, or silently do nothing, are refused where they are read, by table and key."""

import math
import re
from typing import Any

import pytest

from emosphere.audio.decoding.decode import DecodeLimits
from emosphere.config import from_mapping
from emosphere.errors import UsageError
from emosphere.settings import BatchSettings, SpeechSettings
from emosphere.speech.cut_segments import SegmentConfig
from pipelines.archive.fetch import FetchLimits
from pipelines.archive.members import ListLimits
from pipelines.cluster.resources import Resources
from pipelines.score.settings import PlanSettings, ScoreSettings, settings_digest


def settings(table: str, values: dict[str, Any]) -> ScoreSettings:
    for name in reversed(table.split(".")):
        values = {name: values}
    return from_mapping(ScoreSettings, values, source="night.toml")


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("listen.grid", {"cell_s": math.inf}),
        ("listen.grid", {"cell_s": math.nan}),
        ("listen.grid", {"lead_in_s": math.nan}),
        ("listen.segment", {"max_s": math.inf}),
        ("listen.segment", {"max_s": math.nan}),
        ("listen.segment", {"max_s": 0.0}),
        ("listen.segment", {"max_s": 0.05, "min_s": 0.01}),
        ("listen.segment", {"max_s": 0.993, "min_s": 0.496}),  # 31 frames, twice 16
        ("listen.quality", {"min_s": math.nan}),
        ("listen.quality", {"max_clipped_ratio": math.nan}),
        ("listen.quality", {"min_rms_db": math.nan}),
        ("listen.quality", {"min_snr_db": math.nan}),
        ("batch", {"batch_s": 0.0}),
        ("batch", {"batch_s": -40.0}),
        ("batch", {"batch_s": math.nan}),
        ("batch", {"batch_s": math.inf}),
        ("batch", {"pool_s": math.nan}),
        ("batch", {"pool_s": -1.0}),
        ("batch", {"pool_s": math.inf}),
        ("batch", {"cells": 0}),
        ("decode", {"min_duration_s": math.nan}),
        ("decode", {"max_channels": 0}),
        ("decode", {"max_memory_bytes": 200 << 20}),
        ("decode", {"stall_timeout_s": 0.0}),
        ("decode", {"stall_timeout_s": math.nan}),
        ("decode", {"max_wait_s": -1.0}),
        ("decode", {"max_wait_s": 3e6}),
        ("fetch", {"max_unpack_ratio": math.nan}),
        ("fetch", {"first_pause_s": -1.0}),
        ("fetch", {"first_pause_s": math.nan}),
        ("archive", {"max_unpack_ratio": math.nan}),
        ("resources", {"gpus_per_actor": math.nan}),
        ("resources", {"gpus_per_actor": math.inf}),
        ("resources", {"gpus_per_actor": 1.5}),
        ("resources", {"gpus_per_actor": 1e-5}),
        ("resources", {"stall_timeout_s": math.nan}),
        ("resources", {"stall_timeout_s": math.inf}),
        ("resources", {"stall_timeout_s": 1e10}),
        ("store", {"client_kwargs": 3}),
    ],
    ids=str,
)
def test_nonsense_is_refused_with_its_table_and_key(table: str, values: dict[str, Any]) -> None:
    name, value = next(iter(values.items()))
    with pytest.raises(UsageError, match=rf"^night\.toml: .*\b{name}={re.escape(str(value))}") as refused:
        settings(table, values)
    assert table.split(".")[0] in str(refused.value)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("listen.segment", {"max_s": 0.1, "min_s": 0.01}),
        ("listen.quality", {"min_s": -1.0, "min_rms_db": -math.inf, "max_clipped_ratio": 2.0}),  # nothing is low
        ("decode", {"max_duration_s": math.inf}),
        ("batch", {"batch_s": 1.0, "pool_s": 0.0, "cells": 1}),  # one segment at a time, as each is found
        ("decode", {"max_memory_bytes": 320 << 20, "stall_timeout_s": 2e6, "max_wait_s": 1.0}),
        ("fetch", {"max_unpack_ratio": math.inf, "first_pause_s": 0.0, "attempts": 1}),
        ("resources", {"gpus_per_actor": 0.25}),
        ("resources", {"gpus_per_actor": 2.0}),
    ],
    ids=str,
)
def test_what_is_rare_but_has_a_meaning_is_taken(table: str, values: dict[str, Any]) -> None:
    settings(table, values)


def test_the_digest_of_the_default_settings_stays() -> None:
    """Another one would have every finished archive scored again. Raise ROWS_VERSION where rows do change."""
    assert settings_digest(ScoreSettings(), {}) == "276d82ac92561194"
    assert settings_digest(ScoreSettings(), {0: "agent"}) == "8e0a1a0d1cefb745"


def test_the_settings_digest_follows_what_can_change_a_row() -> None:
    """And nothing else."""
    plain = settings_digest(ScoreSettings(), {})
    same = ScoreSettings(
        batch=BatchSettings(batch_s=1.0), plan=PlanSettings(part_units=1), resources=Resources(actors=3)
    )
    assert settings_digest(same, {}) == plain
    assert settings_digest(ScoreSettings(fetch=FetchLimits(attempts=9, first_pause_s=0.1)), {}) == plain
    assert settings_digest(ScoreSettings(fetch=FetchLimits(max_bytes=9)), {}) != plain
    assert settings_digest(ScoreSettings(decode=DecodeLimits(max_wait_s=9)), {}) != plain
    other = ScoreSettings(listen=SpeechSettings(segment=SegmentConfig(max_s=5.0)))
    assert settings_digest(other, {}) != plain
    assert settings_digest(ScoreSettings(), {0: "customer"}) != plain
    assert settings_digest(ScoreSettings(archive=ListLimits(max_members=5)), {}) != plain
    assert settings_digest(ScoreSettings(batch=BatchSettings(precision="bfloat16")), {}) != plain
    assert settings_digest(ScoreSettings(plan=PlanSettings(score_duplicates_once=True)), {}) != plain
