"""Every fence is needed: without it, a schedule that is harmless otherwise goes wrong, or a test of its own fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.schedules.breaks import BREAKS
from tests.schedules.many import open_store
from tests.schedules.schedule import World, play

pytestmark = pytest.mark.heavy


def slept_over(where: str, others: str = "2 start erase uri a.wav") -> list[str]:
    """A run sleeps, somebody else comes, the same command ends the run; then the sleeper wakes."""
    begun = ["1 start score elsewhere", f"1 {where}", "1 stop"]
    return [*begun, others, "2 run", "3 start score", "3 run", "1 cont", "1 run"]


def woke_early(where: str) -> list[str]:
    """The same, but the sleeper wakes before its run is taken up again."""
    begun = ["1 start score elsewhere", f"1 {where}", "1 stop", "2 start erase uri a.wav", "2 run"]
    return [*begun, "1 cont", "1 run", "3 start score", "3 run"]


REPLACED = ["archive replace a.wav", "archive replace b.wav", "archive replace sub/c.wav"]
FOUND = [
    ("memory", "no_condition", "empty", slept_over("until segments 2"), "back"),
    ("memory", "no_number_in_parts", "empty", slept_over("until staging 1"), "undisturbed"),
    ("memory", "takes_every_part_of_what_was_erased", "empty", woke_early("until staging 3"), "back"),
    ("memory", "no_roll_forward_by_erase", "empty", slept_over("until version 3"), "half"),
    (
        "memory", "no_roll_forward", "scored",
        ["archive replace b.wav", "1 start score next", "1 until snapshot", "1 kill", "2 start score", "2 run"], "lost",
    ),
    ("memory", "no_check", "scored", ["1 start erase uri sub", "1 after segments 1", "1 stop", "2 start score next",
        "2 until header 1"], "lost"),
    ("disk", "no_check", "empty", ["archive add sub/f.wav", "1 start score", "1 ask header 1", "1 stop",
        "2 start score", "2 run"], "failed"),
    (
        "disk", "no_lock", "empty",
        ["1 start score elsewhere", "1 amid segments 2", "1 stop", "2 start score", "2 run", *REPLACED,
         "3 start score", "3 run", "1 cont", "1 run"], "sql does not see",
    ),
    ("disk", "recordings_first", "empty", ["1 start score", "1 run"], "half"),
    ("disk", "ends_before_the_row", "empty", ["1 start score", "1 ask row", "1 kill"], "runs has no row"),
    (
        "disk", "erases_unmarked", "scored",
        ["1 start erase uri a.wav", "1 until segments 1", "1 kill", "archive replace b.wav", "2 start score", "2 run"],
        "half",
    ),
    (
        "disk", "erases_snapshot_last", "scored",
        ["archive replace b.wav", "1 start score", "1 run", "archive replace b.wav", "2 start score", "2 run",
         "archive replace b.wav", "3 start score", "3 run"], "lost",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("store", "names", "state", "steps", "words"), FOUND, ids=[f"{one[1]}-{one[0]}" for one in FOUND]
)
def test_a_missing_fence_is_found(
    store: str, names: str, state: str, steps: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with World(open_store(store, tmp_path)) as world:
        play(world, steps, state)
    for name in names.split():
        BREAKS[name](monkeypatch)
    with World(open_store(store, tmp_path)) as world, pytest.raises(AssertionError, match=words):
        play(world, steps, state)


WRITER, SNAPSHOT, REPLACE = (
    f"tests/pipelines/{file}.py"
    for file in ("output/test_writer", "output/test_snapshot", "score/publish/test_replace")
)
BY_A_TEST = {
    "no_fencing_off": f"{WRITER}::test_a_write_that_a_dead_holder_began_is_refused_by_the_store",
    "results_as_they_were": f"{WRITER}::test_a_write_that_a_dead_holder_began_is_refused_by_the_store",
    "creates_over": f"{WRITER}::test_a_write_that_a_dead_holder_began_is_refused_by_the_store",
    "no_count_of_changes": f"{WRITER}::test_after_an_unanswered_write_the_next_is_warned",
    "says_clean": f"{WRITER}::test_after_an_unanswered_write_the_next_is_warned",
    "no_sweep": f"{WRITER}::test_what_nobody_reads_is_swept_away",
    "takes_every_staged_part": f"{WRITER}::test_what_is_staged_behind_the_back_of_an_erasure_does_not_count",
    "no_holder_in_files": f"{SNAPSHOT}::test_no_two_holders_write_the_same_bytes",
    "no_number_in_versions": f"{SNAPSHOT}::test_no_two_holders_write_the_same_bytes",
    "no_files_in_marker": f"{REPLACE}::test_what_another_was_about_to_write_is_written_anew",
    "folds_what_was_erased": f"{REPLACE}::test_what_the_list_of_the_erased_names_is_not_published",
    "no_roll_forward_by_erase": f"{REPLACE}::test_an_erasure_ends_the_publishing_of_the_dead_first",
}
"""What sleepers and late requests are kept from twice, so that no schedule shows one of the two missing."""


@pytest.mark.parametrize(("name", "test"), BY_A_TEST.items(), ids=BY_A_TEST)
def test_a_missing_fence_fails_a_test(name: str, test: str, root: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    sound = subprocess.run([*command, test], cwd=root, capture_output=True, text=True)
    assert sound.returncode == 0, sound.stdout
    broken = subprocess.run(
        [*command, "-p", "tests.schedules.broken", "--broken", name, test], cwd=root, capture_output=True, text=True
    )
    assert broken.returncode == pytest.ExitCode.TESTS_FAILED, broken.stdout


def test_every_fence_is_found_one_way_or_the_other() -> None:
    assert set(BREAKS) == {name for one in FOUND for name in one[1].split()} | BY_A_TEST.keys()
