"""Plans: bounded parts, spans that cover a recording once, nothing planned twice."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosphere.store import locate
from pipelines.archive.dates import Window
from pipelines.archive.recording import Recording
from pipelines.ledger import Finished, Ledger, RunHeader
from pipelines.plan import Selection, select, write_plan
from pipelines.settings import PlanSettings, ScoreSettings, settings_digest
from pipelines.stages.score_parts import cells_of


def recordings(sizes: list[int]) -> list[Recording]:
    return [
        Recording(source_uri=f"s3://b/{n}.wav", kind="object", url=b"", num_bytes=size, content_version="v1")
        for n, size in enumerate(sizes)
    ]


def header() -> RunHeader:
    return RunHeader(
        run_id="run", key="key", dt="2026-11-20", started_at="2026-11-20T00:00:00+00:00", model_name="m",
        model_digest="d", model_licence="l", settings_digest="s", config={}, archives=[], purpose=None, roles={},
    )  # fmt: skip


def planned(tmp_path, sizes: list[int], **settings) -> tuple[RunHeader, list[list[dict]]]:
    ledger, counts = Ledger(locate(str(tmp_path))), Selection()
    chosen = select(recordings(sizes), window=Window(), finished={}, settings_digest="s", limit=None, counts=counts)
    final = write_plan(ledger, header(), chosen, counts, ScoreSettings(plan=PlanSettings(**settings)))
    assert final is not None
    assert ledger.header("run") == final
    return final, [ledger.plan_part("run", part).to_pylist() for part in range(final.num_parts)]


def test_every_unit_is_planned_once_and_parts_stay_within_their_bounds(tmp_path):
    sizes = [1_000_000] * 300 + [500 << 20] + [0, 5]
    final, parts = planned(tmp_path, sizes, unit_bytes=32 << 20, part_bytes=64 << 20, part_units=40)
    units = [unit for part in parts for unit in part]
    assert [unit["unit_id"] for unit in units] == list(range(final.num_units))
    assert final.num_recordings == 303
    assert all(len(part) <= 40 for part in parts)
    assert all(sum(unit["num_bytes"] // unit["num_units"] for unit in part) <= (64 + 32) << 20 for part in parts)
    large = [unit for unit in units if unit["num_units"] > 1]
    assert [unit["unit_index"] for unit in large] == list(range(16))


def test_a_small_archive_still_makes_several_parts(tmp_path):
    final, parts = planned(tmp_path, [100_000] * 30)
    assert final.num_parts >= 5
    assert len(parts[0]) < len(parts[-2])


@given(st.integers(1, 200), st.integers(0, 40 * 3_600_000))
def test_the_units_of_a_recording_cover_every_cell_once(num_units, duration_ms):
    spans = [cells_of(index, num_units, duration_ms, 60.0) for index in range(num_units)]
    assert spans[0][0] == 0
    assert spans[-1][1] is None
    assert all(one[1] == other[0] for one, other in pairwise(spans))
    assert spans[-1][0] <= max(1, -(-duration_ms // 60_000))


def test_without_a_promised_duration_the_first_unit_takes_all():
    assert cells_of(0, 3, None, 60.0) == (0, None)
    assert all(stop is not None and stop <= first for first, stop in (cells_of(k, 3, None, 60.0) for k in (1, 2)))


@pytest.mark.parametrize(
    ("status", "code", "version", "digest", "stands"),
    [
        ("scored", None, "v1", "s", True),
        ("no_speech", None, "v1", "s", True),
        ("failed", "CORRUPT", "v1", "s", True),
        ("failed", "NOT_FOUND", "v1", "s", False),
        ("failed", "INTERNAL", "v1", "s", False),
        ("scored", None, "v2", "s", False),
        ("scored", None, "v1", "t", False),
        ("scored", "TRUNCATED", "v1", "s", True),
    ],
)
def test_finished_means_the_same_content_and_settings_and_no_passing_failure(status, code, version, digest, stands):
    before = Finished(dt="d", content_version="v1", settings_digest="s", status=status, error_code=code, attempts=1)
    assert before.stands_for(version, digest) is stands


def test_the_settings_digest_follows_what_can_change_a_row_and_nothing_else():
    from emosphere.audio.segment import SegmentConfig
    from emosphere.inference import BatchSettings, ListenSettings
    from pipelines.resources import Resources

    plain = settings_digest(ScoreSettings(), {})
    same = ScoreSettings(
        batch=BatchSettings(batch_s=1.0), plan=PlanSettings(part_units=1), resources=Resources(actors=3)
    )
    assert settings_digest(same, {}) == plain
    other = ScoreSettings(listen=ListenSettings(segment=SegmentConfig(max_s=5.0)))
    assert settings_digest(other, {}) != plain
    assert settings_digest(ScoreSettings(), {0: "customer"}) != plain
