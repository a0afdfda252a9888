"""Folds in which no speaker stands on both sides, the same at every run."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from emosphere.clips.manifest import Clip


def speaker_folds(clips: Sequence[Clip], num_folds: int, *, seed: int = 0) -> list[int]:
    """Fold of each clip, 0..num_folds - 1, all clips of a speaker in one fold, each corpus spread over the folds.

    Speakers go, longest first within their corpus, to the fold that has the fewest clips of that corpus so far, then
    the fewest clips at all. Raises ValueError when there are fewer speakers than folds.
    """
    sizes = Counter(clip.speaker for clip in clips)
    corpus_of = {clip.speaker: clip.corpus for clip in clips}
    if not 2 <= num_folds <= len(sizes):
        raise ValueError(f"num_folds={num_folds} must lie in 2..{len(sizes)}, the number of speakers.")
    speakers = sorted(sizes)
    random.Random(seed).shuffle(speakers)
    speakers.sort(key=lambda speaker: (corpus_of[speaker], -sizes[speaker]))
    in_corpus: dict[str, Counter[int]] = defaultdict(Counter)
    in_all: Counter[int] = Counter()
    fold_of: dict[str, int] = {}
    for speaker in speakers:
        corpus = in_corpus[corpus_of[speaker]]
        fold = min(range(num_folds), key=lambda fold: (corpus[fold], in_all[fold], fold))
        fold_of[speaker] = fold
        corpus[fold] += sizes[speaker]
        in_all[fold] += sizes[speaker]
    return [fold_of[clip.speaker] for clip in clips]
