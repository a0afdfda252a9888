"""Figures of a model: whole, with a reason for every null, and never a silent 0."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from emosphere.clips.manifest import Clip
from emosphere.evaluation.answered import AnsweredClips
from emosphere.evaluation.figures import figures_of, meanings, slice_figures
from emosphere.geometry import region_of
from emosphere.metrics import ccc, class_report

Unrate = Callable[[AnsweredClips, int, range], tuple[Clip, ...]]


def answers_and_targets(answered: AnsweredClips) -> tuple[torch.Tensor, torch.Tensor]:
    """VAD of clips that are all rated."""
    return torch.from_numpy(answered.answers["vad"]).double(), torch.from_numpy(answered.ratings("vad")[0])


def leaves(figures: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for figure, parts in figures.items():
        for of, figure_of in parts.items():
            yield figure, of, figure_of


def test_figures_are_those_of_the_metrics(answered: AnsweredClips) -> None:
    evaluation = figures_of(answered, num_draws=100, seed=0)
    figures = evaluation["figures"]
    vad, target = answers_and_targets(answered)
    wanted = ccc(vad, target)
    for place, dim in enumerate(("valence", "arousal", "dominance")):
        assert figures["ccc"][dim]["value"] == pytest.approx(float(wanted[place]), abs=1e-4)
    assert figures["ccc"]["mean"]["value"] == pytest.approx(float(wanted.mean()), abs=1e-4)
    true = region_of(target)
    report = class_report(region_of(vad), true, 8)
    assert figures["uar"]["of_vad"]["value"] == pytest.approx(report.uar, abs=1e-4)
    assert evaluation["confusion"]["of_vad"]["counts"] == report.confusion.tolist()
    head = class_report(torch.from_numpy(answered.answers["region"]).argmax(dim=1), true, 8)
    assert figures["macro_f1"]["head"]["value"] == pytest.approx(head.macro_f1, abs=1e-4)
    assert (evaluation["clips"], evaluation["speakers"]) == (120, 6)
    assert evaluation["dimensions"]["valence"]["predicted"]["mean"] == pytest.approx(float(vad[:, 0].mean()), abs=1e-4)


def test_intervals_hold_their_value_and_every_null_has_a_reason(answered: AnsweredClips) -> None:
    figures = figures_of(answered, num_draws=200, seed=0)["figures"]
    assert set(figures) == set(meanings(answered))
    for figure, of, figure_of in leaves(figures):
        assert (figure_of["value"] is None) == ("reason" in figure_of), (figure, of)
        if figure_of["value"] is not None and figure != "ece":  # noise makes the draws' calibration error larger
            assert figure_of["low"] <= figure_of["value"] <= figure_of["high"], (figure, of)
    assert "did not save" in figures["uar"]["head_at_weight_zero"]["reason"]
    json.dumps(figures, allow_nan=False)


def test_a_seed_repeats_to_the_last_digit(answered: AnsweredClips) -> None:
    assert figures_of(answered, num_draws=100, seed=3) == figures_of(answered, num_draws=100, seed=3)


def test_hedging_shows_as_bias_in_the_extreme_fifths(make: Callable[..., AnsweredClips]) -> None:
    figures = figures_of(make(effect=0.0), num_draws=100, seed=0)["figures"]
    assert figures["bias_lowest"]["valence"]["value"] > 0.2
    assert figures["bias_highest"]["valence"]["value"] < -0.2
    assert figures["spread_ratio"]["valence"]["value"] < 0.8
    assert figures["mae_extremes"]["valence"]["value"] > figures["mae"]["valence"]["value"]


def test_a_dimension_that_nobody_rated_is_null_with_a_reason(
    make: Callable[..., AnsweredClips], answered: AnsweredClips, unrate: Unrate
) -> None:
    evaluation = figures_of(make(clips=unrate(answered, 2, range(120))), num_draws=100, seed=0)
    figures = evaluation["figures"]
    assert figures["ccc"]["dominance"]["value"] is None
    assert "nobody rated" in figures["ccc"]["dominance"]["reason"]
    assert "not every dimension" in figures["ccc"]["mean"]["reason"]
    assert figures["ccc"]["valence"]["value"] > 0.5
    assert evaluation["dimensions"]["dominance"] == {"clips": 0, "unrated": 120, "speakers": 0}
    assert "no clip has a region" in figures["uar"]["head"]["reason"]
    assert "no clip has a region" in figures["ece"]["head"]["reason"]


def test_clips_unrated_in_one_dimension_are_left_out_there(
    make: Callable[..., AnsweredClips], answered: AnsweredClips, unrate: Unrate
) -> None:
    evaluation = figures_of(make(clips=unrate(answered, 0, range(30))), num_draws=100, seed=0)
    assert (evaluation["dimensions"]["valence"]["clips"], evaluation["dimensions"]["valence"]["unrated"]) == (90, 30)
    assert evaluation["dimensions"]["arousal"]["unrated"] == 0
    vad, target = answers_and_targets(answered)
    wanted = ccc(vad[30:], target[30:])
    assert evaluation["figures"]["ccc"]["valence"]["value"] == pytest.approx(float(wanted[0]), abs=1e-4)


def test_a_model_without_a_region_head_says_so(make: Callable[..., AnsweredClips]) -> None:
    evaluation = figures_of(make(head=False), num_draws=100, seed=0)
    assert evaluation["figures"]["uar"]["head"]["reason"] == "the model has no region head"
    assert evaluation["figures"]["ece"]["region_prob"]["reason"] == "the model has no region head"
    assert evaluation["figures"]["uar"]["of_vad"]["value"] > 0.3
    assert list(evaluation["confusion"]) == ["of_vad"]


def test_the_head_of_an_earlier_epoch_is_measured_where_it_was_saved(
    make: Callable[..., AnsweredClips], answered: AnsweredClips
) -> None:
    evaluation = figures_of(make(at_weight_zero=True), num_draws=100, seed=0)
    assert evaluation["figures"]["uar"]["head_at_weight_zero"] == evaluation["figures"]["uar"]["head"]


def test_coverage_is_by_speaker_too(make: Callable[..., AnsweredClips], answered: AnsweredClips) -> None:
    vad, target = answers_and_targets(answered)
    distance = ((vad - target) ** 2).sum(dim=1).sqrt().numpy()
    radius = float(np.sort(distance)[89])  # holds 90 of 120
    evaluation = figures_of(make(radius_90=radius), num_draws=100, seed=0)
    assert evaluation["figures"]["coverage"]["vad_radius_90"]["value"] == 0.75
    by_speaker = evaluation["coverage_by_speaker"]
    assert sum(part["clips"] * part["coverage"] for part in by_speaker.values()) == pytest.approx(90, abs=0.01)
    assert "claims no" in figures_of(answered, num_draws=100, seed=0)["figures"]["coverage"]["vad_radius_90"]["reason"]


def test_a_slice_of_one_clip_or_speaker_is_too_small(answered: AnsweredClips) -> None:
    assert slice_figures(answered.take([0]), num_draws=100, seed=0)["too_small"]
    one_speaker = slice_figures(answered.take(range(20)), num_draws=100, seed=0)
    assert (one_speaker["clips"], one_speaker["speakers"], "figures" in one_speaker) == (20, 1, False)
    assert "figures" in slice_figures(answered.take(range(15, 25)), num_draws=100, seed=0)


def test_a_slice_whose_targets_do_not_vary_has_no_concordance(make: Callable[..., AnsweredClips]) -> None:
    from dataclasses import replace

    answered = make(2, 5)
    clips = tuple(replace(clip, vad=(0.5, 0.5, 0.5)) for clip in answered.clips)
    figures = slice_figures(make(2, 5, clips=clips), num_draws=100, seed=0)["figures"]
    assert figures["ccc"]["valence"]["value"] is None
    assert figures["ccc"]["valence"]["reason"] == "all targets are equal"
    assert figures["mae"]["valence"]["value"] > 0


def test_a_slice_without_any_region_is_no_trouble(make: Callable[..., AnsweredClips], answered: AnsweredClips) -> None:
    from dataclasses import replace

    clips = tuple(replace(clip, vad=(0.0, 0.0, 0.0), weak=True) for clip in answered.clips)
    figures = slice_figures(make(clips=clips), num_draws=100, seed=0)["figures"]
    assert figures["uar"]["of_vad"]["value"] is None
    assert figures["ece"]["head"]["value"] is None
