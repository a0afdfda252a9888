"""Figures are by corpus as well as in all, and neutral clips count for agreement but not for regions."""

import math
from typing import Any

import pytest
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.manifest import Clip
from emosphere.emotion_words import weak_vad
from emosphere.tasks import Task, tasks_of
from emosphere.tasks.category import CategoryTask
from emosphere.tasks.vad import VadTask
from pipelines.train import report as evaluation
from pipelines.train.report import figures_for

EMOTIONS = ("anger", "neutral", "sadness", "happiness")
TASKS = tasks_of({"vad": "vad", "region": "region"}, {})


def labelled() -> InMemoryClips:
    clips = tuple(
        Clip(
            uri="x", speaker=f"{corpus}{take}", corpus=corpus, split="test", category=emotion,
            vad=weak_vad(emotion, ""), weak=True,
        )
        for corpus in ("a", "b")
        for take in range(2)
        for emotion in EMOTIONS
    )  # fmt: skip
    return InMemoryClips(clips, (), TASKS)


def test_perfect_answers_have_perfect_figures() -> None:
    clips = labelled()
    rows = list(range(16))
    targets = clips.targets(rows)
    answers = {
        "vad": targets["vad"].values,
        "region": torch.nn.functional.one_hot(targets["region"].values, 8).float(),
    }
    figures = figures_for(answers, clips, rows, TASKS)
    assert figures["ccc"] == pytest.approx({"valence": 1, "arousal": 1, "dominance": 1})
    assert (figures["clips"], figures["speakers"], figures["region_head"]["clips"]) == (16, 4, 12)
    assert figures["region_head"]["uar"] == figures["region_of_vad"]["uar"] == 1
    assert figures["region_head"]["chance"] == pytest.approx(1 / 3, abs=1e-4)
    assert set(figures["region_head"]["confusion"]) == {"A+V+D+", "A+V-D+", "A-V-D-"}


def test_ratings_that_were_learnt_are_not_reported_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def clip(split: str, *, weak: bool, value: float) -> Clip:
        return Clip(uri="x", speaker="s", corpus="c", split=split, vad=(value,) * 3, weak=weak)

    splits = [("train", False), ("train", False), ("train", True), ("rated", False), ("rated", False)]
    clips = InMemoryClips(tuple(clip(split, weak=weak, value=row / 5) for row, (split, weak) in enumerate(splits)), (),
                          TASKS)  # fmt: skip
    monkeypatch.setattr(
        evaluation, "answers_for", lambda _, clips, rows, **__: {"vad": clips.targets(rows)["vad"].values}
    )
    network: Any = torch.nn.Identity()
    network.tasks = {"vad": TASKS["vad"]}
    figures = evaluation.evaluate(network, clips, learnt=("train",), kept=("test",))
    assert figures["rated"]["clips"] == 2
    assert figures["rated"]["corpora"] == ["c"]
    assert figures["test_speakers_known"] == 0


def test_clips_that_nobody_rated_are_no_ratings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a corpus of categories alone are not weak, and not rated either."""

    def clip(corpus: str, number: int, *, weak: bool = False) -> Clip:
        vad = (math.nan,) * 3 if corpus == "words" else (number / 5,) * 3
        return Clip(uri="x", speaker="s", corpus=corpus, split="test", vad=vad, weak=weak, category="anger")

    given = [clip("acted", 0, weak=True), *(clip(corpus, n) for corpus in ("words", "rated") for n in range(2))]
    clips = InMemoryClips(tuple(given), ((),), TASKS)
    monkeypatch.setattr(
        evaluation, "answers_for", lambda _, clips, rows, **__: {"vad": clips.targets(rows)["vad"].values}
    )
    network: Any = torch.nn.Identity()
    network.tasks = {"vad": TASKS["vad"]}
    rated = evaluation.evaluate(network, clips, learnt=("train",), kept=())["rated"]
    assert (rated["clips"], rated["corpora"]) == (2, ["rated"])
    clips = InMemoryClips(tuple(given[:3]), ((),), TASKS)
    assert evaluation.evaluate(network, clips, learnt=("train",), kept=())["rated"] is None


def test_test_speakers_who_were_learnt_from_or_chosen_by_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = [("train", "a"), ("dev", "b"), ("test", "a"), ("test", "b"), ("test", "d")]
    clips = InMemoryClips(
        tuple(
            Clip(uri="x", speaker=speaker, corpus="c", split=split, vad=(row / 5,) * 3)
            for row, (split, speaker) in enumerate(heads)
        ),
        ((),),
        TASKS,
    )
    monkeypatch.setattr(
        evaluation, "answers_for", lambda _, clips, rows, **__: {"vad": clips.targets(rows)["vad"].values}
    )
    network: Any = torch.nn.Identity()
    network.tasks = {"vad": TASKS["vad"]}
    splits: dict[str, Any] = {"learnt": ("train",), "kept": ("test",)}
    assert evaluation.evaluate(network, clips, **splits)["test_speakers_known"] == 1
    assert evaluation.evaluate(network, clips, chosen_by=("dev",), **splits)["test_speakers_known"] == 2


def test_each_corpus_has_its_own_figures_in_the_order_of_the_rows() -> None:
    clips = labelled()
    rows = list(range(15, -1, -1))
    vad = clips.targets(rows)["vad"].values.clone()
    vad[8:] = -vad[8:]  # the last eight of these rows are corpus a
    figures = figures_for({"vad": vad}, clips, rows, {"vad": TASKS["vad"]})
    assert figures["corpora"]["b"]["ccc"]["valence"] == 1
    assert figures["corpora"]["a"]["ccc"]["valence"] < -0.5
    assert "region_head" not in figures


def rated_clip(split: str, value: float, *, weak: bool = False, category: str | None = None) -> Clip:
    return Clip(
        uri="x", speaker="s", corpus="c", split=split, vad=(value, -value, value / 2), weak=weak, category=category
    )


def holding(tasks: dict[str, Task]) -> Any:
    network: Any = torch.nn.Identity()
    network.tasks = tasks
    return network


def test_every_split_has_the_figures_of_its_own_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is answered right, the second with the other sign, whatever rows lie between."""
    splits = ["two", "one", "train", "two", "one", "two", "one"]
    clips = InMemoryClips(
        tuple(rated_clip(split, row / 8 - 0.4) for row, split in enumerate(splits)), ((),), {"vad": VadTask()}
    )

    def answers_for(_: Any, clips: InMemoryClips, rows: list[int], **__: Any) -> dict[str, torch.Tensor]:
        signs = torch.tensor([1.0 if splits[row] == "one" else -1.0 for row in rows])
        return {"vad": signs[:, None] * clips.targets(rows)["vad"].values}

    monkeypatch.setattr(evaluation, "answers_for", answers_for)
    found = evaluation.evaluate(holding(clips.tasks), clips, learnt=("train",), kept=("one", "two"))
    assert found["test"]["clips"] == 6
    assert {split: part["clips"] for split, part in found["splits"].items()} == {"one": 3, "two": 3}
    assert set(found["splits"]["one"]["ccc"].values()) == {1}
    assert all(value < 0 for value in found["splits"]["two"]["ccc"].values())


def test_distorted_figures_are_of_the_last_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = InMemoryClips(tuple(rated_clip("test", row / 8 - 0.4) for row in range(6)), ((), (), ()), TASKS)

    def answers_for(_: Any, clips: InMemoryClips, rows: list[int], *, version: int = 0) -> dict[str, torch.Tensor]:
        return {"vad": [1, 7, -1][version] * clips.targets(rows)["vad"].values}

    monkeypatch.setattr(evaluation, "answers_for", answers_for)
    found = evaluation.evaluate(holding({"vad": TASKS["vad"]}), clips, learnt=("train",), kept=("test",))
    assert found["test"]["ccc"]["valence"] == 1
    assert -1 <= found["test_distorted"]["ccc"]["valence"] < -0.5


def test_ratings_are_held_against_what_the_vad_head_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which need not be the first head; weak labels are no ratings."""
    tasks: dict[str, Task] = {"mood": CategoryTask(words=("joy", "anger", "fear")), "point": VadTask()}
    signs = (1.0, -1.0, 1.0, -1.0)
    clips = InMemoryClips(
        (*(rated_clip("rated", sign) for sign in signs), *(rated_clip("rated", 0.3, weak=True) for _ in range(3))),
        ((),),
        tasks,
    )

    def answers_for(_: Any, clips: InMemoryClips, rows: list[int], **__: Any) -> dict[str, torch.Tensor]:
        return {"mood": torch.randn(len(rows), 3), "point": 5 * clips.targets(rows)["point"].values}

    monkeypatch.setattr(evaluation, "answers_for", answers_for)
    found = evaluation.evaluate(holding(tasks), clips, learnt=("train",), kept=())
    assert found["rated"]["clips"] == 4
    assert found["rated"]["ccc"] == {"valence": 1, "arousal": 1}
    assert evaluation.evaluate(holding({"mood": tasks["mood"]}), clips, learnt=("train",), kept=())["rated"] is None


def test_every_head_of_the_model_is_reported_on_and_no_auxiliary_one() -> None:
    tasks: dict[str, Task] = {
        "vad": VadTask(), "mood": CategoryTask(words=("joy", "anger")), "other": CategoryTask(words=("joy", "anger")),
    }  # fmt: skip
    clips = tuple(rated_clip("test", row / 8 - 0.4, category="joy" if row % 2 else "anger") for row in range(6))
    held = InMemoryClips(clips, ((),), tasks)
    targets = held.targets(list(range(6)))
    answers = {"vad": targets["vad"].values} | dict.fromkeys(("mood", "other"), torch.eye(2)[targets["mood"].values])
    kept = {head: task for head, task in tasks.items() if head != "other"}
    figures = figures_for(answers, held, list(range(6)), kept)
    assert (figures["mood_head"]["uar"], figures["ccc"]["valence"]) == (1, 1)
    assert "other_head" not in figures
