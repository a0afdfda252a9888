"""Regions: labels by the design's vectors, answers by slow twins; published angles and regions follow from VAD."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emosphere.geometry import REGION_NAMES
from emosphere.tasks import Published, Target, Task
from emosphere.tasks.category import CategoryTask
from emosphere.tasks.region import DEFAULT_REGIONS, NOT_SAVED, RegionTask, located, num_regions
from emosphere.tasks.vad import VadTask
from tests.labelled import LabelledClip

VECTORS = [
    ((7, 7, 7), 0), ((1, 7, 7), 1), ((1, 1, 7), 2), ((7, 1, 7), 3), ((7, 7, 1), 4), ((5, 3, 4.5), 3),
    ((4, 4, 4), 0), ((4, 4, 7), 0), ((4, 4, 1), 4), ((1, 4, 4), 1), ((4, 1, 4), 3), ((4, 7, 4), 0),
]  # fmt: skip
"""Conformance vectors of the method's section 10: arousal, valence, dominance from 1 to 7, and the region."""


def rated(arousal: float, valence: float, dominance: float, *, weak: bool = False) -> LabelledClip:
    """Ratings from 1 to 7."""
    return LabelledClip(vad=((valence - 4) / 3, (arousal - 4) / 3, (dominance - 4) / 3), weak=weak)


def test_labels_are_the_regions_of_the_designs_vectors() -> None:
    regions, is_known = RegionTask().labels([rated(*point) for point, _ in VECTORS])
    assert regions.tolist() == [region for _, region in VECTORS]
    assert regions.dtype == np.int64
    assert is_known.all()


@pytest.mark.parametrize("count", [18, 32])
def test_labels_of_finer_tables_agree_with_the_designs_bins(count: Literal[18, 32]) -> None:
    task = RegionTask(regions=count)
    alpha = {18: math.pi / 3, 32: math.pi / 4}[count]
    points = np.random.default_rng(0).uniform(-1, 1, (300, 3))
    clips = [LabelledClip(vad=(valence, arousal, dominance)) for valence, arousal, dominance in points]
    regions, is_known = task.labels(clips)
    assert is_known.all()
    num_azimuths, num_elevations = round(2 * math.pi / alpha), round(math.pi / alpha)
    for region, (valence, arousal, dominance) in zip(regions, points, strict=True):
        azimuth = min(int(math.atan2(valence, arousal) % (2 * math.pi) // alpha), num_azimuths - 1)
        polar = math.atan2(math.hypot(valence, arousal), dominance)
        elevation = min(max(math.ceil(polar / alpha) - 1, 0), num_elevations - 1)
        assert region == elevation * num_azimuths + azimuth
    assert set(regions.tolist()) == set(range(task.outputs)) == set(range(count))


def test_a_region_is_unknown_where_not_all_is_rated_or_the_middle_only_stands_for_neutral() -> None:
    nan = math.nan
    clips = [
        LabelledClip(vad=(nan, 0.5, 0.5)),
        LabelledClip(vad=(0.5, nan, 0.5)),
        LabelledClip(vad=(0.5, 0.5, nan)),
        LabelledClip(),
        rated(4, 4, 4, weak=True),
        rated(4, 4, 4),
        rated(4, 4, 7, weak=True),
    ]
    _, is_known = RegionTask().labels(clips)
    assert is_known.tolist() == [False] * 5 + [True] * 2
    target = RegionTask().target(clips)
    assert (target.values.dtype, target.is_known.tolist()) == (torch.int64, is_known.tolist())
    assert ((target.values >= 0) & (target.values < 8)).all()  # an index into weights, whatever it means


def test_no_clips_have_no_labels() -> None:
    for task in (VadTask(), RegionTask(), CategoryTask()):
        values, is_known = task.labels([])
        assert (len(values), values.shape) == (0, is_known.shape)


def test_members_agree_on_the_mean_of_their_probabilities() -> None:
    answers = 3 * torch.randn(4, 5, 8).double()
    agreed = RegionTask().agree(answers)
    for clip in range(5):
        shares = []
        for member in range(4):
            powers = [math.exp(value) for value in answers[member, clip].tolist()]
            shares.append([power / sum(powers) for power in powers])
        mean = [sum(column) / 4 for column in zip(*shares, strict=True)]
        powers = [math.exp(value) for value in agreed[clip].tolist()]
        assert [power / sum(powers) for power in powers] == pytest.approx(mean)


def test_what_is_published_is_calibrated_probabilities() -> None:
    answers = torch.randn(3, 8).double()
    published = RegionTask(temperature=2.5).published(answers)
    for row, probs in zip(answers.tolist(), published.tolist(), strict=True):
        powers = [math.exp(value / 2.5) for value in row]
        assert probs == pytest.approx([power / sum(powers) for power in powers])


def test_the_temperature_is_found_from_known_clips_alone() -> None:
    logits = 2 * torch.randn(3000, 8)
    labels = torch.distributions.Categorical(logits=logits).sample()
    is_known = torch.arange(3000) >= 500
    wrong = torch.where(is_known, labels, (labels + 1) % 8)
    task = RegionTask(regions=8, temperature=7.0)
    found = task.calibrated(3 * logits, Target(wrong, is_known))
    assert found == RegionTask(temperature=found.temperature)
    assert found.temperature == pytest.approx(3.0, rel=0.08)
    assert found.temperature == round(found.temperature, 4)
    assert task.calibrated(logits, Target(labels, torch.zeros(3000, dtype=torch.bool))).temperature == 1.0


def test_a_temperature_that_divides_by_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature=0\.0 must be above 0"):
        RegionTask(temperature=0.0)


def test_classes_are_weighted_by_known_clips_alone() -> None:
    target = Target(torch.tensor([0, 0, 0, 1, 5]), torch.tensor([True, True, True, True, False]))
    weights = RegionTask().class_weights(target)
    assert weights.tolist() == pytest.approx([4 / (8 * 3), 4 / 8, 0, 0, 0, 0, 0, 0])


def test_figures_count_known_clips_alone() -> None:
    answers = torch.eye(8)[[0, 1, 1, 3]]
    target = Target(torch.tensor([0, 0, 1, 2]), torch.tensor([True, True, True, False]))
    figures = RegionTask().choice_figures(answers, target)
    assert list(figures) == ["uar", "macro_f1", "accuracy"]
    assert figures == pytest.approx({"uar": (1 / 2 + 1) / 2, "macro_f1": 2 / 3, "accuracy": 2 / 3})
    assert RegionTask().choice_figures(answers, Target(target.values, torch.zeros(4, dtype=torch.bool))) == {}


def test_the_published_probability_is_the_heads_own_of_the_region_of_the_point() -> None:
    vad = np.array([[0.5, 0.5, 0.5], [-0.5, 0.5, -0.5], [0, 0, 0]], np.float32)
    probs = np.random.default_rng(0).dirichlet(np.ones(8), 3).astype(np.float32)
    tasks: dict[str, Task] = {"sphere": VadTask(), "cell": RegionTask()}
    columns = RegionTask().columns(Published(tasks, {"sphere": vad, "cell": probs}), "cell")
    assert list(columns) == ["region_prob"]
    assert columns["region_prob"].tolist() == [probs[0, 0], probs[1, 7], probs[2, 0]]
    assert columns["region_prob"].dtype == np.float32


def test_without_a_point_there_is_no_region_to_give_a_probability_of() -> None:
    probs = np.full((2, 8), 0.125, np.float32)
    model = Published({"region": RegionTask()}, {"region": probs})
    assert RegionTask().columns(model, "region") == {}
    named = RegionTask().named(model, "region")
    assert named["of_vad"] == "the model does not answer valence, arousal, dominance"


def test_a_region_is_named_in_three_ways() -> None:
    vad = np.array([[-0.5, 0.5, 0.5]], np.float32)
    probs = np.eye(8, dtype=np.float32)[[5]]
    tasks: dict[str, Task] = {"vad": VadTask(), "region": RegionTask()}
    model = Published(tasks, {"vad": vad, "region": probs})
    named = RegionTask().named(model, "region", probs[:, ::-1])
    assert {way: np.asarray(of).tolist() for way, of in named.items()} == {
        "head": [5], "head_at_weight_zero": [2], "of_vad": [3],
    }  # fmt: skip
    assert RegionTask().named(model, "region")["head_at_weight_zero"] == NOT_SAVED
    assert RegionTask().ways("region").keys() == named.keys()


def test_the_point_is_named_and_promised_in_the_tasks_own_table() -> None:
    """Azimuth 63 degrees, polar 132: the second of six, in the third layer of three."""
    task = RegionTask(regions=18)
    probs = np.eye(18, dtype=np.float32)[[5]]
    model = Published(
        {"vad": VadTask(), "region": task}, {"vad": np.array([[0.5, 0.25, -0.5]], np.float32), "region": probs}
    )
    assert np.asarray(task.named(model, "region")["of_vad"]).tolist() == [13]
    promised = {of: np.asarray(region).tolist() for of, region in task.promised(model, "region").items()}
    assert promised == {"region_prob": [13], "head": [5]}


def test_a_model_sorts_into_the_table_of_its_region_head_or_into_eight() -> None:
    assert num_regions({"vad": VadTask(), "any name": RegionTask(regions=18)}) == 18
    assert num_regions({"vad": VadTask()}) == DEFAULT_REGIONS == 8


def test_known_points() -> None:
    vad = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1], [0, 0, 0], [-0.5, -0.5, 0.5]], np.float32)
    columns = located(vad, 8)
    np.testing.assert_allclose(columns["azimuth_deg"], [0, 90, 0, 0, -135], atol=1e-5)
    np.testing.assert_allclose(columns["polar_deg"], [90, 90, 180, 0, 54.7356], atol=1e-4)
    assert list(columns["region_name"]) == ["A+V+D+", "A+V+D+", "A+V+D-", "A+V+D+", "A-V-D+"]
    assert "region_prob" not in columns


def test_just_above_minus_180_stays_in_the_half_open_range() -> None:
    columns = located(np.array([[-1e-9, -1, 0]], np.float32), 8)
    assert columns["azimuth_deg"][0] == 180


@given(arrays(np.float32, (7, 3), elements=st.floats(-1, 1, width=32)))
def test_against_the_textbook(vad: np.ndarray) -> None:
    probs = np.full((7, 8), 0.125, np.float32)
    columns = located(vad, 8)
    tasks: dict[str, Task] = {"vad": VadTask(), "region": RegionTask()}
    columns |= RegionTask().columns(Published(tasks, {"vad": vad, "region": probs}), "region")
    for row, (valence, arousal, dominance) in enumerate(vad.astype(float)):
        radius = math.sqrt(valence**2 + arousal**2 + dominance**2)
        assert math.isclose(columns["radius"][row], radius, rel_tol=1e-6, abs_tol=1e-30)
        assert -180 < columns["azimuth_deg"][row] <= 180
        name = "".join(
            letter + ("+" if value >= 0 else "-")
            for letter, value in zip("AVD", (arousal, valence, dominance), strict=True)
        )
        assert columns["region_name"][row] == name == REGION_NAMES[8][columns["region"][row]]
        assert columns["region_prob"][row] == np.float32(0.125)
