"""Folds keep speakers whole, spread corpora, and stay the same."""

import pytest

from emosphere.clips.manifest import Clip
from emosphere.clips.splits import speaker_folds


def clips(*speakers: tuple[str, str, int]) -> list[Clip]:
    return [
        Clip(
            uri="x",
            speaker=name,
            corpus=corpus,
            split="train",
            category="fear",
            vad=(0.0, 0.0, 0.0),
        )
        for name, corpus, count in speakers
        for _ in range(count)
    ]


SET = clips(
    *[(f"a{i}", "a", 60) for i in range(9)],
    *[(f"b{i}", "b", 240) for i in range(3)],
    *[(f"c{i}", "c", 40) for i in range(6)],
)


def test_no_speaker_stands_in_two_folds() -> None:
    folds_of: dict[str, set[int]] = {}
    for clip, fold in zip(SET, speaker_folds(SET, 3), strict=True):
        folds_of.setdefault(clip.speaker, set()).add(fold)
    assert all(len(folds) == 1 for folds in folds_of.values())


def test_every_corpus_is_spread_evenly() -> None:
    for corpus, each in (("a", 180), ("b", 240), ("c", 80)):
        counts = [0, 0, 0]
        for clip, fold in zip(SET, speaker_folds(SET, 3), strict=True):
            counts[fold] += clip.corpus == corpus
        assert counts == [each] * 3


def test_the_same_seed_gives_the_same_folds_and_another_others() -> None:
    assert speaker_folds(SET, 3) == speaker_folds(SET, 3)
    assert speaker_folds(SET, 3, seed=1) != speaker_folds(SET, 3, seed=2)


@pytest.mark.parametrize("num_folds", [1, 19])
def test_more_folds_than_speakers_are_refused(num_folds: int) -> None:
    with pytest.raises(ValueError, match=r"must lie in 2\.\.18"):
        speaker_folds(SET, num_folds)
