"""Figures of classes of every draw are those of the drawn clips."""

import numpy as np
import torch

from emosphere.evaluation.bootstrap import draw_speakers
from emosphere.evaluation.class_figures import class_figures
from emosphere.metrics import class_report


def twin(predicted: list[int], true: list[int], num_classes: int) -> tuple[float, float, float]:
    """UAR, macro-F1 and accuracy clip by clip."""
    recalls, f1s = [], []
    for number in range(num_classes):
        hits = sum(p == t == number for p, t in zip(predicted, true, strict=True))
        num_true, num_predicted = true.count(number), predicted.count(number)
        if num_true:
            recalls.append(hits / num_true)
        if num_true or num_predicted:
            f1s.append(2 * hits / (num_true + num_predicted))
    hits = sum(p == t for p, t in zip(predicted, true, strict=True))
    return sum(recalls) / len(recalls), sum(f1s) / len(f1s), hits / len(true)


def test_every_draw_is_what_the_drawn_clips_themselves_give() -> None:
    rng = np.random.default_rng(2)
    speaker = np.sort(rng.integers(0, 4, 80))
    true, predicted, is_known = rng.integers(0, 5, 80), rng.integers(0, 8, 80), rng.uniform(size=80) < 0.7
    draws = draw_speakers(4, 15, seed=0)
    figures = class_figures(predicted, true, is_known, 8, speaker, draws)
    for place, counts in enumerate(draws):
        rows = [
            r for who, count in enumerate(counts) for _ in range(int(count)) for r in np.flatnonzero(speaker == who)
        ]
        rows = [row for row in rows if is_known[row]]
        wanted = twin(predicted[rows].tolist(), true[rows].tolist(), 8)
        np.testing.assert_allclose(
            (figures.uar[place], figures.macro_f1[place], figures.accuracy[place]), wanted, rtol=1e-12
        )
    report = class_report(torch.from_numpy(predicted[is_known]), torch.from_numpy(true[is_known]), 8)
    assert figures.confusion.tolist() == report.confusion.tolist()


def test_without_any_known_class_there_is_no_figure() -> None:
    nothing = np.zeros(3, np.int64)
    figures = class_figures(nothing, nothing, np.zeros(3, np.bool_), 8, nothing, np.ones((2, 1)))
    assert np.isnan([figures.uar, figures.macro_f1, figures.accuracy]).all()
