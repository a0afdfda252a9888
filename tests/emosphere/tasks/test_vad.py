"""Valence, arousal, dominance: each dimension is known by itself, and the point's columns follow from it."""

import json
import math

import numpy as np
import pytest
import torch

from emosphere.geometry import REGION_NAMES
from emosphere.tasks import Published, Target, Task
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask
from emosphere.vad import VAD_DIMS
from tests.labelled import LabelledClip

NAN = math.nan


def test_each_dimension_is_known_by_itself() -> None:
    clips = [
        LabelledClip(vad=(0.5, -0.25, 0.0)),
        LabelledClip(vad=(NAN, 1.0, -1.0), weak=True),
        LabelledClip(vad=(0.5, NAN, NAN)),
        LabelledClip(),
    ]
    values, is_known = VadTask().labels(clips)
    assert values.dtype == np.float64
    assert is_known.tolist() == [[True] * 3, [False, True, True], [True, False, False], [False] * 3]
    assert values[is_known].tolist() == [0.5, -0.25, 0.0, 1.0, -1.0, 0.5]
    assert np.isfinite(values).all()  # an unknown one may be multiplied by 0
    target = VadTask().target(clips)
    assert torch.equal(target.values, torch.from_numpy(values).float())
    assert torch.equal(target.is_known, torch.from_numpy(is_known))
    assert target.take([1, 3]).is_known.tolist() == [[False, True, True], [False] * 3]


def test_members_agree_on_their_mean() -> None:
    answers = torch.randn(3, 4, 3).double()
    agreed = VadTask().agree(answers)
    for clip in range(4):
        for dim in range(3):
            mean = sum(answers[:, clip, dim].tolist()) / 3
            assert float(agreed[clip, dim]) == pytest.approx(mean, abs=1e-12)
    assert VadTask().agree(answers[:, None].expand(3, 5, 4, 3)).shape == (5, 4, 3)  # frames, too


def test_what_is_published_stays_on_the_scale() -> None:
    answers = torch.tensor([[1.5, -0.5, -7.0], [1.0, -1.0, 0.0]])
    assert VadTask().published(answers).tolist() == [[1.0, -0.5, -1.0], [1.0, -1.0, 0.0]]


def test_nothing_in_it_is_calibrated_by_answers_alone() -> None:
    task = VadTask(radius_90=0.5)
    assert task.calibrated(torch.zeros(2, 3), VadTask().target([LabelledClip()] * 2)) is task
    assert task.class_weights(VadTask().target([LabelledClip()])) is None


@pytest.mark.parametrize("radius", [0.0, -1.0, NAN])
def test_a_radius_that_holds_nothing_is_refused(radius: float) -> None:
    with pytest.raises(ValueError, match="must be above 0, or left out"):
        VadTask(radius_90=radius)


@pytest.mark.parametrize("radius", [None, 0.75])
def test_a_point_fills_its_columns(radius: float | None) -> None:
    vad = np.array([[0.5, 0.25, -0.5], [0, 0, 0]], np.float32)
    tasks: dict[str, Task] = {"point": VadTask(radius_90=radius)}
    columns = tasks["point"].columns(Published(tasks, {"point": vad}), "point")
    assert columns["vad_radius_90"].tolist() == [radius, radius]
    assert columns["valence"].tolist() == [0.5, 0.0]
    assert columns["arousal"].tolist() == [0.25, 0.0]
    assert columns["dominance"].tolist() == [-0.5, 0.0]
    assert columns["radius"].tolist() == [0.75, 0.0]
    assert columns["region"].tolist() == [4, 0]
    assert columns["region_name"].tolist() == ["A+V+D-", "A+V+D+"]


def test_the_region_is_of_the_table_that_the_models_region_head_knows() -> None:
    vad = np.array([[0.5, 0.25, -0.5]], np.float32)
    tasks: dict[str, Task] = {"vad": VadTask(), "region": RegionTask(regions=18)}
    columns = tasks["vad"].columns(Published(tasks, {"vad": vad, "region": np.eye(18, dtype=np.float32)[:1]}), "vad")
    # Azimuth atan2(.5, .25) = 63 degrees, polar 132: the second of six, in the third layer of three.
    assert columns["region"].tolist() == [2 * 6 + 1]
    assert columns["region_name"].tolist() == [REGION_NAMES[18][13]]


def test_figures_are_over_what_was_rated() -> None:
    clips = [
        LabelledClip(vad=(0.1, NAN, 0.3)),
        LabelledClip(vad=(0.4, NAN, NAN)),
        LabelledClip(vad=(0.5, NAN, 0.2)),
        LabelledClip(vad=(0.9, NAN, 0.6)),
    ]
    answers = torch.tensor([[0.2, 5.0, 0.3], [0.4, 6.0, 9.0], [0.6, 7.0, 0.2], [0.8, 8.0, 0.6]])
    figures = VadTask().choice_figures(answers, VadTask().target(clips))
    # The first is the design's vector; the third agrees where it is rated.
    assert figures == pytest.approx({"ccc": (0.943396 + 1) / 2, "ccc_valence": 0.9434, "ccc_dominance": 1.0}, abs=1e-6)
    assert next(iter(figures)) == "ccc"
    assert VadTask().choice_figures(answers, VadTask().target([LabelledClip()] * 4)) == {}


def test_the_report_says_what_was_not_rated() -> None:
    clips = [LabelledClip(vad=(valence, 0.5, NAN)) for valence in (0.1, 0.4, 0.5, 0.9)]
    answers = {"vad": torch.tensor([[0.2, 0.5, 0.0], [0.4, 0.5, 0.0], [0.6, 0.5, 0.0], [0.8, 0.5, 0.0]])}
    tasks: dict[str, Task] = {"vad": VadTask()}
    assert VadTask().report(tasks, answers, "vad", clips) == {
        "ccc": {"valence": 0.9434, "arousal": 0.0, "dominance": None}
    }
    rated = [LabelledClip(vad=(valence, 0.5, -0.5)) for valence in (0.1, -0.4, 0.5, 0.9)]
    report = VadTask().report(tasks, answers, "vad", rated)
    assert report["region_of_vad"]["clips"] == 4
    assert report["region_of_vad"]["accuracy"] == 0.0  # +0 is of the upper half, all targets are of the lower


def test_a_dimension_is_taught_where_any_clip_is_rated_in_it() -> None:
    target = VadTask().target([LabelledClip(vad=(0.5, NAN, NAN)), LabelledClip(vad=(NAN, 0.5, NAN))])
    assert VadTask().untaught(target) == ["dominance"]


def test_the_report_is_of_what_is_published() -> None:
    clips = [LabelledClip(vad=(at, at, at)) for at in (-1.0, 1.0, -1.0, 1.0)]
    answers = torch.tensor([-3.0, 5.0, -2.0, 7.0])[:, None].expand(4, 3)
    assert VadTask().report({"vad": VadTask()}, {"vad": answers}, "vad", clips)["ccc"] == dict.fromkeys(VAD_DIMS, 1.0)


def test_the_reports_regions_are_of_the_models_table() -> None:
    """Azimuth atan2(.5, .25) = 63 degrees, polar 132: the second of six, in the third layer of three."""
    tasks: dict[str, Task] = {"vad": VadTask(), "cell": RegionTask(regions=18)}
    report = VadTask().report(tasks, {"vad": torch.tensor([[0.5, 0.25, -0.5]])}, "vad", [
        LabelledClip(vad=(0.5, 0.25, -0.5))
    ])  # fmt: skip
    assert report["region_of_vad"]["names"] == list(REGION_NAMES[18])
    assert report["region_of_vad"]["confusion"] == {REGION_NAMES[18][13]: [0] * 13 + [1] + [0] * 4}


def test_a_graph_says_the_order_and_the_scale() -> None:
    metadata = VadTask(radius_90=0.5).graph_metadata("vad")
    assert json.loads(metadata["dims"]) == ["valence", "arousal", "dominance"]
    assert metadata["scale"].startswith("centred")
    assert metadata["vad_radius_90"] == "0.5"
    assert "vad_radius_90" not in VadTask().graph_metadata("vad")
    assert VadTask().graph_output("vad") == "vad"


def test_unrated_targets_reach_no_figure() -> None:
    """Whatever stands where nothing is known."""
    values = torch.rand(6, 3)
    is_known = torch.rand(6, 3) < 0.7
    answers = torch.rand(6, 3)
    spoilt = torch.where(is_known, values, 1e6)
    task = VadTask()
    assert task.choice_figures(answers, Target(values, is_known)) == task.choice_figures(
        answers, Target(spoilt, is_known)
    )
