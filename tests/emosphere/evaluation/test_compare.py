"""Two models on the same clips: pairing, law of the p value, direction of what is better."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.bootstrap import draw_speakers, estimate
from emosphere.evaluation.compare import compare
from emosphere.evaluation.drawn_figures import draw_figures


def test_a_model_does_not_differ_from_itself(answered: AnsweredClips) -> None:
    for parts in compare(answered, answered, num_draws=200, seed=0).values():
        for difference in parts.values():
            assert (difference["difference"], difference["low"], difference["high"], difference["p"]) == (0, 0, 0, 1)
            assert difference["better"] is None


def test_a_clearly_worse_model_is_named(make: Callable[..., AnsweredClips], answered: AnsweredClips) -> None:
    """Whichever comes first."""
    rng = np.random.default_rng(0)
    vad = answered.answers["vad"]
    worse = make(vad=(vad + rng.normal(size=vad.shape) * 0.4).clip(-1, 1))
    compared = compare(answered, worse, num_draws=500, seed=0)
    assert compared["ccc"]["valence"]["difference"] > 0
    assert compared["ccc"]["valence"]["p"] < 0.01
    assert compared["ccc"]["valence"]["better"] == compared["mae"]["valence"]["better"] == "first"
    assert compared["mae"]["valence"]["difference"] < 0
    assert compared["bias"]["valence"]["better"] is None
    turned = compare(worse, answered, num_draws=500, seed=0)
    assert turned["ccc"]["valence"]["difference"] == -compared["ccc"]["valence"]["difference"]
    assert turned["mae"]["mean"]["better"] == "second"


def test_pairing_sees_what_two_intervals_apart_cannot(
    make: Callable[..., AnsweredClips], answered: AnsweredClips
) -> None:
    answered = make(effect=0.4)
    slightly = make(effect=0.4, vad=0.9 * answered.answers["vad"])
    paired = compare(answered, slightly, num_draws=500, seed=0)["ccc"]["mean"]
    draws = draw_speakers(6, 500, seed=0)
    alone = [estimate(draw_figures(a, "vad", draws)["ccc"]["mean"], num_speakers=6) for a in (answered, slightly)]
    assert paired["high"] - paired["low"] < 0.5 * min(one.high - one.low for one in alone)


def test_equally_good_models_seldom_differ() -> None:
    """p is below 0.05 about once in twenty where nothing differs; with 30 speakers, at most once in eight."""
    from emosphere.evaluation.agreement import agreement
    from emosphere.evaluation.bootstrap import two_sided_p

    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(30), 10)
    false_alarms = 0
    for seed in range(200):
        target = rng.normal(size=300)
        one, other = (target + rng.normal(size=30)[speaker] * 0.3 + rng.normal(size=300) for _ in range(2))
        draws = draw_speakers(30, 300, seed=seed)
        differences = agreement(one, target, speaker, draws).ccc - agreement(other, target, speaker, draws).ccc
        false_alarms += two_sided_p(differences[1:]) < 0.05
    assert 2 <= false_alarms <= 25


def test_figures_that_one_of_them_lacks_are_left_out(
    make: Callable[..., AnsweredClips], answered: AnsweredClips
) -> None:
    compared = compare(answered, make(head=False), num_draws=100, seed=0)
    assert list(compared["uar"]) == ["of_vad"]
    assert "ece" not in compared


def test_other_region_tables_compare_by_vad_alone(make: Callable[..., AnsweredClips], answered: AnsweredClips) -> None:
    other = make(regions=18, region_probs=np.full((120, 18), 1 / 18, np.float32))
    assert {"uar", "macro_f1", "accuracy", "ece"}.isdisjoint(compare(answered, other, num_draws=100, seed=0))


def test_other_clips_are_refused(answered: AnsweredClips) -> None:
    with pytest.raises(ValueError, match="other clips"):
        compare(answered, answered.take(range(119, -1, -1)), num_draws=100, seed=0)
    # Two cuts of one recording that begin together are two clips.
    cut = dataclasses.replace(answered, clips=(dataclasses.replace(answered.clips[0], end_ms=900), *answered.clips[1:]))
    with pytest.raises(ValueError, match="other clips"):
        compare(answered, cut, num_draws=100, seed=0)
