"""Plans: bounded parts, spans that cover a recording once, nothing planned twice, the long ones first."""

import time
from collections.abc import Iterator
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosphere.store import locate
from pipelines.archive.dates import Window
from pipelines.archive.recording import Recording
from pipelines.output.fence import Overtaken
from pipelines.output.ledger import RunHeader
from pipelines.score.plan.choose import Choice
from pipelines.score.plan.cut import SHARES, write_plan
from pipelines.score.run.decoders import cells_of
from pipelines.score.settings import PlanSettings, ScoreSettings
from tests.pipelines.headers import begun_ledger, open_ledger, run_header


def recordings(sizes: list[int]) -> list[Recording]:
    return [
        Recording(source_uri=f"s3://b/{n}.wav", kind="object", url=b"", num_bytes=size, content_version="v1")
        for n, size in enumerate(sizes)
    ]


def planned(tmp_path, sizes: list[int], **settings) -> tuple[RunHeader, list[list[dict]]]:
    ledger = begun_ledger(locate(str(tmp_path)), run_header())
    with Choice() as choice:
        choice.take(recordings(sizes), window=Window())
        choice.leave_out_finished([], "s")
        final = write_plan(
            ledger, run_header(), choice.batches(by_size=settings.get("score_duplicates_once", False)),
            ScoreSettings(plan=PlanSettings(**settings)),
            num_recordings=choice.chosen, num_bytes=choice.num_bytes,
        )  # fmt: skip
    assert ledger.header("run") == final
    return final, [ledger.plan_part(final, part).to_pylist() for part in range(final.num_parts)]


def test_every_unit_is_planned_once_in_bounded_parts(tmp_path):
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
    final, _ = planned(tmp_path, [100_000] * 30)
    assert final.num_parts >= 5


def test_what_is_long_goes_first_and_what_is_short_last(tmp_path):
    """Else the worker that meets the longest recording last works on when all others are done."""
    sizes = [400_000 + 7 * number for number in range(2_000)] + [300 << 20, 20 << 20]
    _, parts = planned(tmp_path, sizes)
    in_order = [unit["num_bytes"] for part in parts for unit in part]
    assert in_order == sorted(in_order, reverse=True)
    assert parts[0][0]["num_bytes"] == 300 << 20
    work = [sum(unit["num_bytes"] // unit["num_units"] for unit in part) for part in parts]
    assert max(work[-SHARES // 2 :]) < max(work) / 8
    assert max(work[-SHARES // 2 :]) < sum(work) / 100


def test_the_encoding_tells_which_is_longest(tmp_path):
    """Members stay in the order of their container."""

    def recording(name: str, num_bytes: int | None, kind: str = "object", **fields) -> Recording:
        return Recording(source_uri=f"s3://b/{name}", kind=kind, url=b"", num_bytes=num_bytes, **fields)

    listed = [
        recording("ten_minutes.wav", 19_000_000),
        recording("an_hour.opus", 14_400_000),
        recording("small.tar", 5, "tar", member="1"),
        recording("unknown", None),
        recording("big.tar", 5_000_000, "tar", member="2"),
        recording("refused.wav", 90_000_000, error_code="REFUSED"),
        recording("two_minutes.mp3", 1_440_000),
    ]
    with Choice() as choice:
        choice.take(listed, window=Window())
        choice.leave_out_finished([], "s")
        names = [one.source_uri.rpartition("/")[2] for one in choice.recordings()]
    assert names == ["small.tar", "big.tar", "unknown", "an_hour.opus", "ten_minutes.wav", "two_minutes.mp3",
                     "refused.wav"]  # fmt: skip


def test_what_may_be_a_duplicate_stays_in_one_part_span_by_span(tmp_path):
    sizes = [5_000_000 + number for number in range(40)] + [80 << 20, 7_777_777] + [3_333] * 90 + [80 << 20, 7_777_777]
    final, parts = planned(tmp_path, sizes, score_duplicates_once=True, part_units=8)
    assert sorted(unit["unit_id"] for part in parts for unit in part) == list(range(final.num_units))
    assert final.num_units == len(sizes) + 4
    homes = {}
    for number, part in enumerate(parts):
        for unit in part:
            homes.setdefault((unit["num_bytes"], unit["unit_index"]), set()).add(number)
    assert all(len(numbers) == 1 for numbers in homes.values())
    assert len({number for (size, _), numbers in homes.items() if size == 80 << 20 for number in numbers}) > 1
    assert max(len(part) for part in parts if 3_333 not in {unit["num_bytes"] for unit in part}) <= 9


def test_a_plan_is_continued_behind_its_last_part(tmp_path):
    first, _ = planned(tmp_path, [100_000] * 30)
    ledger = open_ledger(locate(str(tmp_path)))
    with Choice() as choice:
        late = Recording(source_uri="s3://b/late.wav", kind="object", url=b"", num_bytes=7, content_version="v1")
        changed = Recording(source_uri="s3://b/3.wav", kind="object", url=b"", num_bytes=8, content_version="v2")
        choice.take([*recordings([100_000] * 3), late, changed], window=Window())
        choice.leave_out_finished([], "s", [ledger.plan_part(first, part) for part in range(first.num_parts)])
        more = write_plan(
            ledger, first, choice.batches(), ScoreSettings(),
            num_recordings=choice.chosen, num_bytes=choice.num_bytes,
        )  # fmt: skip
    assert (more.num_parts, more.num_units, more.num_recordings) == (first.num_parts + 1, 32, 32)
    assert [unit["source_uri"] for unit in ledger.plan_part(more, first.num_parts).to_pylist()] == [
        "s3://b/3.wav",
        "s3://b/late.wav",
    ]


@pytest.mark.parametrize("num_parts", [0, 2, 4])
def test_who_is_overtaken_while_planning_writes_no_more(tmp_path, num_parts):
    """The same command plans under the same name: its plan is another one, in files of another number."""
    ledger = begun_ledger(locate(str(tmp_path)), run_header())
    sizes = ScoreSettings(plan=PlanSettings(part_units=1))

    def batches(choice: Choice) -> Iterator[pa.Table]:
        for row in choice.batches():
            for start in range(len(row)):
                if start == num_parts:
                    time.sleep(0.1)  # until the parts before are written
                    open_ledger(ledger.out)
                yield row.slice(start, 1)

    with Choice() as choice:
        choice.take(recordings([100] * 5), window=Window())
        choice.leave_out_finished([], "s")
        with pytest.raises(Overtaken):
            write_plan(ledger, run_header(), batches(choice), sizes, num_recordings=5, num_bytes=500)
    assert len([path for path in ledger.home.files() if "/plan/" in path]) == num_parts
    assert ledger.header("run") is None


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
