"""Random schedules of several commands on one OUT, and those that were found before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.schedules.many import open_store, play_many
from tests.schedules.schedule import World, play

NUM_SCHEDULES = 60
"""Of each store, here; ``make schedules`` plays thousands."""


@pytest.fixture(scope="module", params=["disk", "memory"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(open_store(request.param, Path(tmp_path_factory.mktemp("schedules")))) as world:
        yield world


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store, where requests arrive late."""
    with World(open_store("memory", Path(tmp_path_factory.mktemp("schedules")))) as world:
        yield world


@pytest.mark.parametrize("store", ["disk", "memory"])
def test_random_schedules_lose_nothing_bring_nothing_back_and_end(store: str) -> None:
    outcome = play_many(store, 19, range(NUM_SCHEDULES), 1)
    for one in outcome.found:
        pytest.fail(f"seed {one.seed}, schedule {one.number}: {one.words}\n{one.trace}\n{one.schedule!r}")
    assert outcome.figures.verified > NUM_SCHEDULES / 10


def test_a_worker_that_wakes_after_an_erasure_brings_nothing_back(world: World) -> None:
    """Frozen in the middle of scoring what is erased meanwhile: the same command must not publish what it stages."""
    play(
        world,
        [
            "1 start score elsewhere", "1 until staging 3", "1 stop", "2 start erase uri a.wav", "2 run", "1 cont",
            "1 run", "3 start score", "3 run",
        ],
    )  # fmt: skip


def test_a_kept_version_that_arrives_late_brings_nothing_back(world: World) -> None:
    """Frozen right before it writes the version that the resumed run will point readers at."""
    play(
        world,
        [
            "1 start score elsewhere", "1 until version 3", "1 stop", "2 start erase uri a.wav", "2 run",
            "3 start score", "3 run", "1 cont", "1 run",
        ],
    )  # fmt: skip


def test_a_kept_version_on_its_way_for_a_long_time_brings_nothing_back(world: World) -> None:
    """The same by a partition: no answer comes, and what was sent arrives when all is over."""
    play(
        world,
        [
            "1 start score elsewhere", "1 until version 3", "1 cut", "1 run", "2 start erase uri a.wav", "2 run",
            "3 start score", "3 run", "deliver 1",
        ],
    )  # fmt: skip


def test_a_sleeper_does_not_take_away_the_marker_of_its_successor(world: World) -> None:
    """If that one dies while it publishes, the next one has to know."""
    play(
        world,
        [
            "1 start score elsewhere", "1 until publishing 2", "1 stop", "2 start score", "2 run",
            "archive replace b.wav", "3 start score next elsewhere", "3 until snapshot", "1 cont", "1 run", "3 kill",
            "4 start score", "4 run",
        ],
    )  # fmt: skip


def test_the_same_schedule_is_the_same_again(world: World) -> None:
    steps = ["1 start score", "1 run 30", "1 kill", "archive add e.wav", "2 start score next", "2 run"]
    assert play(world, steps).trace == play(world, steps).trace


@pytest.mark.parametrize(("state", "change"), [("scored", "replace a.wav"), ("empty", "replace e.wav")])
def test_a_list_of_the_erased_that_arrives_late_leaves_no_half_recording(
    memory: World, state: str, change: str
) -> None:
    """It comes between the two files of a publishing that died: who ends that leaves out of the second what the first
    has already.
    """
    files = range(1, 4)
    for number in files:
        play(
            memory,
            [
                f"archive {change}", "1 start erase uri a.wav elsewhere", "1 until erased 1", "1 stop",
                "2 start score elsewhere", f"2 until recordings {number}", "2 kill", "1 cont", "1 run",
                "3 start score", "3 run",
            ],
            state,
        )  # fmt: skip


def test_who_wakes_when_its_run_was_ended_by_another_is_told_so(memory: World) -> None:
    """It finds no plan any more: that it was overtaken is the reason, not that a file is missing."""
    play(
        memory,
        [
            "1 start score elsewhere", "1 until staging 2", "1 stop", "2 start score elsewhere", "2 run",
            "1 cont", "1 run",
        ],
    )  # fmt: skip


def test_the_first_snapshot_of_who_sleeps_points_at_nothing_swept(memory: World) -> None:
    """There is none yet that a successor could renew, so it makes an empty one. Found by seed 103, schedule 47."""
    play(
        memory,
        ["1 start score", "1 until snapshot 1", "1 stop", "2 start score", "2 after recordings 1", "1 cont", "1 run"],
        "empty",
    )
