"""Figures, page, table and comparison of models with other heads than VAD and region, and with neither."""

import io
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from emosphere.errors import UsageError
from emosphere.evaluation.answered import AnsweredClips, refuse_useless
from emosphere.evaluation.compare import compare
from emosphere.evaluation.figures import figures_of, meanings, slice_figures
from emosphere.evaluation.page import page
from emosphere.evaluation.predictions import PREDICTIONS, predictions_parquet
from emosphere.evaluation.slices import slices
from emosphere.tasks import Labelled, Task
from emosphere.tasks.category import CategoryTask
from emosphere.tasks.rated import RatedTask

Make = Callable[..., AnsweredClips]
WORDS = ("anger", "joy", "awe")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoudnessTask(RatedTask):
    """How loud the voice is, on a scale of its own; women's was not rated."""

    dims: ClassVar[tuple[str, ...]] = ("level",)
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 100.0

    kind: Literal["loudness"] = "loudness"

    def labels(self, clips: Sequence[Labelled]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        is_known = np.array([clip.gender != "female" for clip in clips], np.bool_)[:, None]
        values = np.array([50 + 50 * clip.vad[1] for clip in clips], np.float64)[:, None]
        return np.where(is_known, values, -7.0), is_known


@dataclass(frozen=True, kw_only=True, slots=True)
class StrainTask(LoudnessTask):
    """Two dimensions, one of which has a name that VAD has too."""

    dims: ClassVar[tuple[str, ...]] = ("arousal", "creak")
    lowest: ClassVar[float] = -1.0
    highest: ClassVar[float] = 1.0

    def labels(self, clips: Sequence[Labelled]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        values = np.array([clip.vad[:2] for clip in clips], np.float64)
        return values, np.ones_like(values, np.bool_)


def words_head(seed: int = 0, num_clips: int = 120, words: tuple[str, ...] = WORDS) -> tuple[Task, Any]:
    """A category head that is fair at it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_clips, len(words)))
    logits[np.arange(num_clips), [words.index(("joy", "anger")[row % 2]) for row in range(num_clips)]] += 1.0
    probs = np.exp(logits)
    return CategoryTask(words=words), probs / probs.sum(axis=1, keepdims=True)


def loudness_head(radius_90: float | None = 30.0) -> tuple[Task, Any]:
    """A loudness head that is fair at it."""
    rng = np.random.default_rng(1)
    arousal = np.random.default_rng(0).uniform(-0.9, 0.9, (120, 3))[:, 1]  # of the made-up clips
    return LoudnessTask(radius_90=radius_90), (50 + 40 * arousal + 10 * rng.normal(size=120)).clip(0, 100)[:, None]


def evaluation_of(answered: AnsweredClips, against: AnsweredClips | None = None) -> dict[str, Any]:
    """As the command writes it, without what the page does not read."""
    compared = None if against is None else compare(answered, against, num_draws=100, seed=0)
    evaluation = {
        "date": "2026-11-21",
        "model": {"name": "m", "digest": "0" * 12, "licence": "x", "max_clip_s": 12.0},
        "against": None if against is None else {"name": "other"},
        "manifest": "x.csv",
        "split": "test",
        "clips": {"listed": 120, "evaluated": 120, "weak": 0, "cut": 0, "audio_s": 9.0, "unreadable": []},
        "bootstrap": {"draws": 100, "seed": 0},
        "overall": figures_of(answered, num_draws=100, seed=0),
        "slices": {
            kind: {name: slice_figures(answered.take(rows), num_draws=100, seed=0) for name, rows in parts.items()}
            for kind, parts in slices(answered).items()
        },
        "comparison": compared,
    }
    parsed: dict[str, Any] = json.loads(json.dumps(evaluation, allow_nan=False))
    return parsed


def words_of_page(answered: AnsweredClips, against: AnsweredClips | None = None) -> str:
    text = page(evaluation_of(answered, against), answered)
    return "\n".join(ElementTree.fromstring(text).itertext())


def test_a_category_head_has_figures_of_its_own_beside_those_of_the_region(make: Make) -> None:
    """Against a slow twin, over the clips of known words."""
    both = make(more={"category": words_head()})
    clips = tuple(replace(clip, category=None) if row % 5 == 0 else clip for row, clip in enumerate(both.clips))
    both = replace(both, clips=clips)
    overall = figures_of(both, num_draws=100, seed=0)
    figures = overall["figures"]
    assert list(figures["uar"]) == ["head", "head_at_weight_zero", "of_vad", "category"]
    assert list(figures["ece"]) == ["region_prob", "head", "category_prob"]
    answers = both.answers["category"]
    known = [row for row, clip in enumerate(clips) if clip.category]
    true = [WORDS.index(str(clips[row].category)) for row in known]
    hits = [int(answers[row].argmax()) == word for row, word in zip(known, true, strict=True)]
    recalls = [
        sum(hit for hit, word in zip(hits, true, strict=True) if word == number) / true.count(number)
        for number in (0, 1)  # nobody is in awe
    ]
    assert figures["uar"]["category"]["value"] == pytest.approx(sum(recalls) / 2, abs=1e-4)
    assert figures["accuracy"]["category"]["value"] == pytest.approx(sum(hits) / len(hits), abs=1e-4)
    error, best = 0.0, answers.max(axis=1)
    for low in range(10):
        inside = [place for place, row in enumerate(known) if low == min(int(best[row] * 10), 9)]
        error += abs(sum(hits[place] - float(best[known[place]]) for place in inside)) / len(known)
    assert figures["ece"]["category_prob"]["value"] == pytest.approx(error, abs=1e-4)
    assert overall["confusion"]["category"]["names"] == list(WORDS)
    assert sum(map(sum, overall["confusion"]["category"]["counts"])) == len(known)
    assert sum(overall["reliability"]["category_prob"]["clips"]) == len(known)


def test_figures_of_the_point_and_the_region_are_the_same_beside_other_heads(make: Make) -> None:
    alone = figures_of(make(), num_draws=100, seed=0)
    beside = figures_of(make(more={"category": words_head(), "loudness": loudness_head()}), num_draws=100, seed=0)
    for figure, parts in alone["figures"].items():
        for of, figure_of in parts.items():
            assert beside["figures"][figure][of] == figure_of
    for name in ("dimensions", "confusion", "reliability"):
        assert {of: beside[name][of] for of in alone[name]} == alone[name]


def test_a_rated_head_of_one_dimension_is_measured_on_its_own_scale_where_it_is_rated(make: Make) -> None:
    answered = make(more={"loudness": loudness_head()})
    overall = figures_of(answered, num_draws=100, seed=0)
    rows = [row for row, clip in enumerate(answered.clips) if clip.gender != "female"]
    wanted = [50 + 50 * answered.clips[row].vad[1] for row in rows]
    given = [float(answered.answers["loudness"][row, 0]) for row in rows]
    n, mean_x, mean_y = len(rows), sum(given) / len(rows), sum(wanted) / len(rows)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(given, wanted, strict=True)) / n
    spread = sum((x - mean_x) ** 2 for x in given) / n + sum((y - mean_y) ** 2 for y in wanted) / n
    errors = [abs(x - y) for x, y in zip(given, wanted, strict=True)]
    figures = overall["figures"]
    assert figures["ccc"]["loudness"]["value"] == pytest.approx(
        2 * covariance / (spread + (mean_x - mean_y) ** 2), abs=1e-4
    )
    assert figures["mae"]["loudness"]["value"] == pytest.approx(sum(errors) / n, abs=1e-4)
    assert figures["bias"]["loudness"]["value"] == pytest.approx(mean_x - mean_y, abs=1e-4)
    inside = sum(error <= 30 for error in errors) / n
    assert figures["coverage"]["loudness_radius_90"]["value"] == pytest.approx(inside, abs=1e-4)
    assert figures["coverage"]["vad_radius_90"]["reason"] == "the model claims no vad_radius_90"
    assert sum(part["clips"] for part in overall["loudness_coverage_by_speaker"].values()) == n
    assert overall["coverage_by_speaker"] is None
    assert list(figures["ccc"]) == ["valence", "arousal", "dominance", "mean", "loudness"]
    dimension = overall["dimensions"]["loudness"]
    assert (dimension["clips"], dimension["unrated"]) == (n, 120 - n)
    lowest = sorted(zip(wanted, given, strict=True))[: -(-n // 5)]
    bias = sum(x - y for y, x in lowest) / len(lowest)
    assert figures["bias_lowest"]["loudness"]["value"] == pytest.approx(bias, abs=1e-4)
    assert "on the scale of the dimension" in meanings(answered)["mae"]


def test_names_that_two_heads_share_are_told_apart(make: Make) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (120, 2))
    figures = figures_of(make(more={"strain": (StrainTask(), values)}), num_draws=100, seed=0)["figures"]
    assert list(figures["ccc"])[4:] == ["strain_arousal", "strain_creak", "strain_mean"]
    mean = (figures["ccc"]["strain_arousal"]["value"] + figures["ccc"]["strain_creak"]["value"]) / 2
    assert figures["ccc"]["strain_mean"]["value"] == pytest.approx(mean, abs=2e-4)
    assert figures["ccc"]["mean"] == figures_of(make(), num_draws=100, seed=0)["figures"]["ccc"]["mean"]


def test_equal_targets_far_from_zero_have_no_concordance(make: Make) -> None:
    """Raw moments of values around 99.9 would see a spread in their rounding."""
    answered = make(more={"loudness": loudness_head()})
    clips = tuple(replace(clip, vad=(0.3, 0.998, 0.1)) for clip in answered.clips)
    figures = figures_of(replace(answered, clips=clips), num_draws=100, seed=0)["figures"]
    assert figures["ccc"]["loudness"]["reason"] == "all targets are equal"
    assert figures["spread_ratio"]["loudness"]["value"] is None


def test_a_model_of_categories_alone_says_what_it_does_not_answer(make: Make) -> None:
    answered = make(only=["category"], more={"category": words_head()})
    overall = figures_of(answered, num_draws=100, seed=0)
    figures = overall["figures"]
    assert list(figures["uar"]) == ["category"]
    assert list(figures["ece"]) == ["category_prob"]
    assert figures["ccc"]["valence"] == {
        "value": None, "low": None, "high": None, "reason": "the model does not answer it",
    }  # fmt: skip
    assert {figure["reason"] for figure in figures["coverage"].values()} == {"the model does not answer it"}
    assert overall["dimensions"] == {}
    assert meanings(answered)["uar"] == "unweighted average recall of the category"
    text = words_of_page(answered)
    assert "The model does not answer valence, arousal, dominance." in text
    assert "by the category head" in text
    assert "rows: true category, columns: predicted" in text
    assert "UAR: mean share found of each category that occurs; clips of no category or another one" in text
    assert "UAR by slice" in page(evaluation_of(answered), answered)
    assert "region" not in text
    assert "CCC" not in text


def test_categories_stand_beside_points_on_the_page(make: Make) -> None:
    answered = make(more={"category": words_head(), "loudness": loudness_head(None)})
    text = words_of_page(answered)
    for words in (
        "Regions", "Categories", "by the region head", "by the category head", "UAR (category)", "MAE loudness",
        "category_prob: the head's probability of the category that it favours", "error ball of loudness",
        "All values are on the scale of their dimension.",
    ):  # fmt: skip
        assert words in text
    assert "does not answer" not in text
    assert words_of_page(make()).count("error ball") == 1


def test_a_head_of_another_name_says_which_it_is(make: Make) -> None:
    answered = make(more={"style": words_head()})
    assert "style" in figures_of(answered, num_draws=100, seed=0)["figures"]["uar"]
    text = words_of_page(answered)
    assert "Categories: style" in text
    assert "by the style head" in text


def test_a_model_with_neither_point_nor_class_has_a_page_and_a_table(make: Make) -> None:
    answered = make(only=["loudness"], more={"loudness": loudness_head(None)})
    overall = figures_of(answered, num_draws=100, seed=0)
    assert overall["figures"]["uar"] == overall["figures"]["ece"] == overall["confusion"] == {}
    assert overall["figures"]["ccc"]["loudness"]["value"] > 0.5
    text = words_of_page(answered)
    assert "The model does not answer valence, arousal, dominance." in text
    assert "loudness" in text
    assert "UAR" not in text
    assert len(list(ElementTree.fromstring(page(evaluation_of(answered), answered)).iter("svg"))) == 2
    assert pq.read_table(io.BytesIO(predictions_parquet(answered)))["loudness"].null_count == 0


def test_a_region_head_without_the_point_is_measured_by_itself(make: Make) -> None:
    answered = make(only=["region"])
    figures = figures_of(answered, num_draws=100, seed=0)["figures"]
    with_point = figures_of(make(), num_draws=100, seed=0)["figures"]
    assert figures["uar"]["head"] == with_point["uar"]["head"]
    assert figures["ece"]["head"] == with_point["ece"]["head"]
    for figure, of in (("uar", "of_vad"), ("ece", "region_prob")):
        assert figures[figure][of]["reason"] == "the model does not answer valence, arousal, dominance"
    assert "The model does not answer valence" in words_of_page(answered)


def test_clips_with_categories_alone_are_no_trouble_for_a_model_of_all(make: Make) -> None:
    """No NaN anywhere: nulls with reasons, and the figures of what is labelled."""
    answered = make(more={"category": words_head(), "loudness": loudness_head()})
    clips = tuple(replace(clip, vad=(math.nan,) * 3, gender="female") for clip in answered.clips)
    unrated = replace(answered, clips=clips)
    figures = figures_of(unrated, num_draws=100, seed=0)["figures"]
    assert figures["uar"]["category"]["value"] > 0.5
    for dim in ("valence", "arousal", "dominance", "loudness"):
        assert figures["ccc"][dim]["reason"] == "nobody rated it on these clips"
    assert "no clip is rated" in figures["coverage"]["loudness_radius_90"]["reason"]
    assert "no clip has a region" in figures["uar"]["of_vad"]["reason"]
    assert "nobody rated it" in words_of_page(unrated, unrated)
    table = pq.read_table(io.BytesIO(predictions_parquet(unrated)))
    assert table["valence_target"].null_count == table["loudness_target"].null_count == 120
    assert list(compare(unrated, unrated, num_draws=100, seed=0)) == ["uar", "macro_f1", "accuracy", "ece"]


def test_words_that_the_model_does_not_know_are_no_labels(make: Make) -> None:
    answered = make(only=["category"], more={"category": words_head()})
    clips = tuple(replace(clip, category="boredom") for clip in answered.clips)
    figures = figures_of(replace(answered, clips=clips), num_draws=100, seed=0)["figures"]
    assert figures["uar"]["category"]["reason"] == "no clip is of a category that the model knows"
    assert figures["ece"]["category_prob"]["value"] is None


def test_models_with_different_heads_compare_by_what_they_share(make: Make) -> None:
    words, loud = words_head(), loudness_head()
    one = make(more={"category": words})
    other = make(only=["vad", "loudness", "category"], more={"category": words_head(seed=5), "loudness": loud})
    compared = compare(one, other, num_draws=100, seed=0)
    assert list(compared["ccc"]) == ["valence", "arousal", "dominance", "mean"]
    assert list(compared["uar"]) == ["of_vad", "category"]
    assert list(compared["ece"]) == ["category_prob"]
    assert compared["uar"]["category"]["difference"] != 0
    categories = make(only=["category"], more={"category": words})
    assert set(compare(one, categories, num_draws=100, seed=0)) == {"uar", "macro_f1", "accuracy", "ece"}
    assert list(compare(categories, one, num_draws=100, seed=0)["uar"]) == ["category"]
    assert compare(categories, make(), num_draws=100, seed=0) == {}
    words_of_page(categories, make())


def test_other_words_are_another_question(make: Make) -> None:
    one = make(more={"category": words_head()})
    other = make(more={"category": words_head(words=("joy", "anger", "awe"))})
    assert "category" not in compare(one, other, num_draws=100, seed=0)["uar"]


def test_the_table_holds_nulls_for_the_point_and_columns_of_the_other_heads(make: Make) -> None:
    answered = make(only=["category", "loudness"], more={"category": words_head(), "loudness": loudness_head()})
    table = pq.read_table(io.BytesIO(predictions_parquet(answered)))
    assert table.column_names == [
        *(column.name for column in PREDICTIONS),
        "category_target", "category_head", "category_head_prob", "loudness_target", "loudness",
    ]  # fmt: skip
    for name in ("valence", "arousal", "dominance", "region", "region_name", "region_prob", "region_head"):
        assert table[name].null_count == 120
        assert table.schema.field(name).nullable
    assert table["valence_target"].null_count == 0  # the labels are there, whoever answers
    assert table["category"].to_pylist() == [clip.category for clip in answered.clips]
    answers = answered.answers["category"]
    assert table["category_head"].to_pylist() == [WORDS[best] for best in answers.argmax(axis=1)]
    np.testing.assert_array_equal(table["category_head_prob"].to_numpy(), answers.max(axis=1))
    assert table["loudness_target"].null_count == sum(clip.gender == "female" for clip in answered.clips)
    assert not table.schema.field("loudness").nullable
    whole = pq.read_table(io.BytesIO(predictions_parquet(make())))
    assert not whole.schema.field("valence").nullable


def test_a_column_that_stands_for_something_else_keeps_its_meaning(make: Make) -> None:
    answered = make(more={"level_db": loudness_head(None)})
    table = pq.read_table(io.BytesIO(predictions_parquet(answered)))
    np.testing.assert_array_equal(table["level_db"].to_numpy(), answered.level_db)
    np.testing.assert_array_equal(table["level_db_answer"].to_numpy(), answered.answers["level_db"][:, 0])


@pytest.mark.parametrize(
    ("head", "values", "message"),
    [
        ("category", np.full((120, 3), 1 / 3), "same category probabilities for all of the 120 clips"),
        ("loudness", np.full((120, 1), 42.0), r"same loudness, 42\.0000, for all of the 120 clips"),
        ("loudness", 42 + 1e-6 * np.arange(120.0)[:, None] / 10, "same loudness"),
        ("category", np.where(np.eye(120, 3), np.nan, 0.3), "NaN as category probability for 3 of the 120"),
        ("loudness", np.where(np.eye(120, 1), np.inf, 1.0), r"NaN or infinity as loudness for 1 .*first /clips/0\.wav"),
    ],
)
def test_useless_answers_of_any_head_are_refused(make: Make, head: str, values: Any, message: str) -> None:
    task = words_head()[0] if head == "category" else LoudnessTask()
    refuse_useless(make(more={"category": words_head(), "loudness": loudness_head()}), model="m", split="test")
    with pytest.raises(UsageError, match=message):
        refuse_useless(make(more={head: (task, values)}), model="m", split="test")


def test_slices_of_a_model_of_categories_are_by_recall(make: Make) -> None:
    answered = make(only=["category"], more={"category": words_head()})
    figures = slice_figures(answered.take(range(60)), num_draws=100, seed=0)["figures"]
    assert figures["uar"]["category"]["value"] > 0
    assert "ccc_extremes" not in figures
    header = [cell for cell in words_of_page(answered).splitlines() if cell.startswith("UAR (")]
    assert "UAR (category)" in header


def test_unknown_labels_are_masks_not_numbers(make: Make) -> None:
    """What a task puts in the place of a missing label is never read."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Odd(LoudnessTask):
        def labels(self, clips: Sequence[Labelled]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
            values, is_known = super(Odd, self).labels(clips)
            return np.where(is_known, values, math.nan), is_known

    task, values = loudness_head()
    plain = figures_of(make(more={"loudness": (task, values)}), num_draws=100, seed=0)
    odd = figures_of(make(more={"loudness": (Odd(radius_90=30.0), values)}), num_draws=100, seed=0)
    assert odd == plain


def test_every_dimension_and_class_has_its_own_column_and_what_is_not_known_is_null(make: Make) -> None:
    words, probs = words_head()
    strain = np.random.default_rng(3).uniform(-1, 1, (120, 2))
    clips = tuple(replace(clip, category=None if row < 7 else clip.category) for row, clip in enumerate(make().clips))
    answered = make(
        only=("mood", "strain"), more={"mood": (words, probs), "strain": (StrainTask(), strain)}, clips=clips
    )
    table = pq.read_table(io.BytesIO(predictions_parquet(answered)))
    for place, name in enumerate(answered.dimension_names("strain")):
        np.testing.assert_allclose(table[name].to_numpy(), strain[:, place], atol=1e-6)
    assert table["mood_target"].to_pylist() == [None] * 7 + [clip.category for clip in clips[7:]]
    assert table["mood_head"].to_pylist() == [WORDS[place] for place in probs.argmax(axis=1)]
    np.testing.assert_allclose(table["mood_head_prob"], probs.max(axis=1), atol=1e-6)
