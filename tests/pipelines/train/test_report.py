"""Figures are by corpus as well as in all, and neutral clips count for agreement but not for regions."""

import math
from typing import Any

import pytest
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.manifest import Clip
from emosphere.emotion_words import weak_vad
from emosphere.tasks import tasks_of
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
    figures = figures_for(answers, clips, rows)
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
    network.tasks = TASKS
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
    network.tasks = TASKS
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
    network.tasks = TASKS
    splits: dict[str, Any] = {"learnt": ("train",), "kept": ("test",)}
    assert evaluation.evaluate(network, clips, **splits)["test_speakers_known"] == 1
    assert evaluation.evaluate(network, clips, chosen_by=("dev",), **splits)["test_speakers_known"] == 2


def test_each_corpus_has_its_own_figures_in_the_order_of_the_rows() -> None:
    clips = labelled()
    rows = list(range(15, -1, -1))
    vad = clips.targets(rows)["vad"].values.clone()
    vad[8:] = -vad[8:]  # the last eight of these rows are corpus a
    figures = figures_for({"vad": vad}, clips, rows)
    assert figures["corpora"]["b"]["ccc"]["valence"] == 1
    assert figures["corpora"]["a"]["ccc"]["valence"] < -0.5
    assert "region_head" not in figures
