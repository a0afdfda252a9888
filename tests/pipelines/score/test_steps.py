"""The steps of a command, in order: what others did while it listed without the lease changes what it does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from emosphere.store import locate
from pipelines.erase.command import erase
from pipelines.erase.target import Target
from pipelines.output import erasure
from pipelines.output.ledger import Ledger
from pipelines.output.state import State
from pipelines.score import command as scoring
from pipelines.score.command import TooManyFailures, score
from pipelines.score.plan import due as planning
from pipelines.score.plan.due import Due
from pipelines.score.publish import replace as publishing
from pipelines.score.request import ScoreRequest


class Died(BaseException):
    """As if the process were killed."""


def die(*args: object, **kwargs: object) -> None:
    raise Died


@pytest.fixture
def request_all(archive: Path, tmp_path: Path) -> ScoreRequest:
    return ScoreRequest(archives=(str(archive),), out=str(tmp_path / "out"), dt="2026-11-20")


@pytest.fixture
def while_it_lists(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have somebody else do something, once, after the next command has listed and before it takes the lease."""

    def set_up(work: Callable[[], object]) -> None:
        real, left = Due.compare_with_tables, [work]

        def compare_and_wait(self: Due, *args: object) -> None:
            real(self, *args)
            if left:
                left.pop()()

        monkeypatch.setattr(Due, "compare_with_tables", compare_and_wait)

    return set_up


def home(request: ScoreRequest) -> Path:
    return Path(request.out) / "_emosphere"


def state(request: ScoreRequest) -> State:
    return Ledger(locate(request.out)).state()


def one(request: ScoreRequest, name: str) -> ScoreRequest:
    """A command for one recording of the archive."""
    return replace(request, archives=(f"{request.archives[0]}/{name}",))


def die_while_publishing(request: ScoreRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    real = publishing._replace
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(publishing, "_replace", lambda *args: real(*args) if args[2] == "segments" else die())
        score(request)
    assert state(request).publishing


def test_with_nothing_to_do_a_dead_publishing_is_finished(request_all, monkeypatch):
    """All rows are there, so that nothing is due; but nobody who asks for a whole run sees them."""
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(publishing, "commit_snapshot", die)
        score(request_all)
    assert score(replace(request_all, dt="2026-11-21"))["skipped"] == 6
    assert not state(request_all).publishing
    assert (home(request_all) / "snapshot.json").exists()


def test_a_dead_run_is_resumed_before_late_files_are_scored(request_all, voice, monkeypatch, rows):
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(scoring, "score_parts", die)
        score(request_all)
    soundfile.write(Path(request_all.archives[0]) / "late.wav", voice[: 16 * 4_000], 16_000)
    result = score(request_all)
    assert (result["scored"], result["skipped"]) == (1, 6)
    assert rows(request_all.out, "recordings", keep=("run_id",))["run_id"].nunique() == 2


def test_what_is_erased_while_it_lists_is_not_scored(request_all, while_it_lists, rows):
    score(one(request_all, "b.flac"))
    while_it_lists(lambda: erase(request_all.out, Target(uri=f"{request_all.archives[0]}/a.wav")))
    result = score(request_all)
    assert (result["recordings"], result["skipped"], result["skipped_policy"]) == (6, 1, 1)
    assert not rows(request_all.out, "recordings")["source_uri"].str.endswith("/a.wav").any()


def test_an_erasure_that_dies_while_it_lists_is_finished_first(request_all, while_it_lists, monkeypatch, rows):
    score(one(request_all, "b.flac"))

    def die_while_erasing() -> None:
        with monkeypatch.context() as patch, pytest.raises(Died):
            patch.setattr(erasure, "replace_published", die)
            erase(request_all.out, Target(uri=f"{request_all.archives[0]}/b.flac"))
        assert state(request_all).erasing

    while_it_lists(die_while_erasing)
    assert score(request_all)["skipped_policy"] == 1
    assert not state(request_all).erasing
    assert not rows(request_all.out, "recordings")["source_uri"].str.endswith("/b.flac").any()


def test_what_is_published_while_it_lists_is_not_scored_again(request_all, while_it_lists, monkeypatch):
    def publish_all() -> None:
        assert score(replace(request_all, dt="2026-11-21"))["scored"] == 3
        monkeypatch.setattr(scoring, "score_parts", lambda *args: pytest.fail("all is scored"))

    while_it_lists(publish_all)
    assert score(request_all)["skipped"] == 6


def test_a_publishing_that_dies_while_it_lists_is_finished_first(request_all, while_it_lists, monkeypatch, rows):
    other = replace(request_all, dt="2026-11-21")
    while_it_lists(lambda: die_while_publishing(other, monkeypatch))
    assert score(request_all)["skipped"] == 6
    assert not state(request_all).publishing
    for table in ("segments", "recordings"):
        assert set(rows(request_all.out, table)["dt"]) == {"dt=2026-11-21"}


def test_a_publishing_of_the_same_command_gives_its_result(request_all, while_it_lists, monkeypatch):
    while_it_lists(lambda: die_while_publishing(request_all, monkeypatch))
    result = score(request_all)
    assert (result["scored"], result["skipped"]) == (3, 0)


def test_its_own_run_that_dies_while_it_lists_is_resumed(request_all, while_it_lists, monkeypatch):
    """With its stored plan: parts that are staged belong to that one."""

    def die_while_scoring() -> None:
        with monkeypatch.context() as patch, pytest.raises(Died):
            patch.setattr(scoring, "score_parts", die)
            score(request_all)
        monkeypatch.setattr(planning, "write_plan", lambda *args, **kwargs: pytest.fail("it has a plan"))

    while_it_lists(die_while_scoring)
    assert score(request_all)["scored"] == 3
    assert not state(request_all).unfinished


def test_a_run_that_died_while_planning_ends_with_nothing_due(request_all, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(planning, "write_plan", die)
        score(request_all)
    score(replace(request_all, dt="2026-11-21"))
    assert score(request_all)["skipped"] == 6
    assert not state(request_all).unfinished


def test_an_erased_late_file_does_not_join_a_refused_run(request_all, voice, monkeypatch, rows):
    """The lease is not held until then."""
    request, late = replace(request_all, max_error_rate=0.2), Path(request_all.archives[0]) / "late.wav"
    with pytest.raises(TooManyFailures, match="2 of 6"):
        score(request)
    soundfile.write(late, voice[: 16 * 4_000], 16_000)
    real, erased = scoring.finish_erasing, []

    def after_an_erasure(writer: object) -> None:
        if not erased:
            erased.append(erase(request.out, Target(uri=str(late))))
        real(writer)

    monkeypatch.setattr(scoring, "finish_erasing", after_an_erasure)
    score(replace(request, max_error_rate=1.0))
    assert not rows(request.out, "recordings")["source_uri"].str.endswith("/late.wav").any()
