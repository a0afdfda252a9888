"""Tables of both kinds of evaluation quote what stands there, and nothing else."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emosphere.errors import UsageError
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import BUNDLED
from emosphere.tasks.category import CategoryTask
from pipelines.card.figure_tables import figure_tables, is_measured
from pipelines.card.text import card_text, model_card
from pipelines.evaluate.command import evaluate
from tests.evaluations import EVALUATION, TASKS, part


def test_the_confusion_names_rows_and_columns() -> None:
    tables = figure_tables(EVALUATION, TASKS)
    assert "|  | one | two |\n| --- | --- | --- |\n| one | 3 | 1 |\n| two | 2 | 4 |" in tables


def test_what_was_not_measured_is_not_mentioned() -> None:
    bare = EVALUATION | {"test": None, "rated": None, "evaluated_on": {}, "regions_that_never_occur": []}
    assert "CCC" not in figure_tables(bare, TASKS)
    assert "Kept apart for the test: nothing." in figure_tables(bare, TASKS)


def test_the_card_does_not_call_test_speakers_new_when_they_are_not() -> None:
    assert "none of whom was learnt from" in figure_tables(EVALUATION, TASKS)
    tables = figure_tables(EVALUATION | {"test_speakers_known": 3}, TASKS)
    assert "none of whom" not in tables
    assert "**3 of their speakers were learnt from or chosen by**" in tables


def test_the_rated_corpora_are_named_where_they_are_known() -> None:
    assert "(28 clips, not learnt from; too few for a benchmark)" in figure_tables(EVALUATION, TASKS)
    rated = {"clips": 500, "corpora": ["a", "b"], "ccc": {"valence": 0.2, "arousal": 0.7}}
    assert "(500 clips of a, b, not learnt from):" in figure_tables(EVALUATION | {"rated": rated}, TASKS)


def test_other_heads_have_columns_of_their_own_after_those_of_the_point() -> None:
    """A question's ways of naming a class stand together, beside the chance of that question."""
    words = {"clips": 9, "uar": 0.7, "chance": 0.25, "names": ["joy", "anger"], "confusion": {"joy": [4, 0]}}
    other = {"category_head": words, "loudness_ccc": {"level": 0.8}, "strain_ccc": {"jitter": 0.1, "creak": None}}
    tables = figure_tables(EVALUATION | {"test": part(10, 0.4) | other | {"corpora": {"a": part(9, 0.1)}}}, TASKS)
    assert (
        "|  | clips | CCC valence | CCC arousal | CCC dominance | CCC loudness level | CCC strain jitter "
        "| CCC strain creak | region UAR (head) | region UAR (of VAD) | chance UAR | category UAR (head) | chance UAR |"
    ) in tables
    assert (
        "| all test speakers | 10 | 0.40 | 0.60 | 0.30 | 0.80 | 0.10 |  | 0.50 | 0.50 | 0.50 | 0.70 | 0.25 |" in tables
    )
    assert "| a | 9 | 0.10 | 0.60 | 0.30 |  |  |  | 0.50 | 0.50 | 0.50 |  |  |" in tables
    assert "Confusion of the category head on the test speakers" in tables
    assert "|  | joy | anger |\n| --- | --- | --- |\n| joy | 4 | 0 |" in tables


def test_a_dimension_that_nobody_rated_is_an_empty_cell() -> None:
    unrated = part(10, 0.4) | {"ccc": {"valence": 0.4, "arousal": 0.6, "dominance": None}}
    rated = {"clips": 28, "ccc": {"valence": None, "arousal": 0.7}}
    tables = figure_tables(EVALUATION | {"test": unrated | {"corpora": {}}, "rated": rated}, TASKS)
    assert "| all test speakers | 10 | 0.40 | 0.60 |  | 0.50 |" in tables
    assert "CCC arousal 0.70." in tables


def test_a_training_without_vad_has_tables_too() -> None:
    words = {"clips": 9, "uar": 0.7, "chance": 0.25, "names": ["joy", "anger"], "confusion": {"joy": [4, 0]}}
    test = {"clips": 10, "category_head": words, "corpora": {"a": {"clips": 10, "category_head": words}}}
    evaluation = EVALUATION | {"test": test, "rated": None, "categories_that_never_occur": ["awe"]}
    evaluation |= {"mood_categories_that_never_occur": ["calm"]}  # of a second such head
    del evaluation["regions_that_never_occur"]
    tables = figure_tables(evaluation, {"category": CategoryTask(words=("joy", "anger"))})
    assert "|  | clips | category UAR (head) | chance UAR |" in tables
    assert "| a | 10 | 0.70 | 0.25 |" in tables
    assert "Categories that never occur among the labels, so that they were never learnt: awe." in tables
    assert "Mood categories that never occur among the labels, so that they were never learnt: calm." in tables


@pytest.fixture(scope="module")
def measured(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `emosphere evaluate` writes of the bundled model on some clips of the test speakers."""
    folder = tmp_path_factory.mktemp("measured")
    with (shared_data / "emotion" / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][::20][:30]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"path": str(shared_data / row["path"])} for row in rows)
    evaluate("default", str(folder / "manifest.csv"), split="test", out=str(folder / "out"), num_bootstrap=100)
    return folder / "out" / "evaluation.json"


def test_intervals_and_slices_are_quoted(measured: Path) -> None:
    evaluation = json.loads(measured.read_text())
    assert is_measured(evaluation)
    tables = figure_tables(evaluation, TASKS)
    for dim in ("valence", "arousal", "dominance"):
        figure = evaluation["overall"]["figures"]["ccc"][dim]
        assert f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]" in tables
    assert "30 clips of" in tables
    assert "30 of the targets are means of emotion *words*" in tables
    for kind, parts in evaluation["slices"].items():
        for name, of_slice in parts.items():
            assert f"| {kind}: {name} | {of_slice['clips']} | {of_slice['speakers']} |" in tables
    assert str(measured.parents[1]) not in tables


def test_a_figure_that_is_not_defined_says_so(measured: Path) -> None:
    evaluation = json.loads(measured.read_text())
    evaluation["overall"]["figures"]["ccc"]["valence"] = {"value": None, "low": None, "high": None, "reason": "..."}
    assert "| ccc | not defined | " in figure_tables(evaluation, TASKS)


def test_a_card_can_be_made_of_it_alone(measured: Path) -> None:
    evaluation: dict[str, Any] = json.loads(measured.read_text())
    card = card_text("", evaluation, TASKS)
    assert card.startswith("# emosphere-default\n")
    assert "a probability for each of 8 regions" in card
    assert "The weights: **CC-BY-NC-SA-4.0**" in card
    assert "does not say what the model learnt from" in card


def test_a_models_card_gets_a_section_of_its_own(measured: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(BUNDLED)
    card = model_card(checkpoint, BUNDLED, str(measured))
    assert card.startswith((BUNDLED / "README.md").read_text().rstrip())
    assert "## Evaluation on split test, with intervals and slices" in card
    assert model_card(checkpoint, tmp_path, str(measured)).startswith("# emosphere-default\n\nHears speech")
    assert model_card(checkpoint, tmp_path, None) == ""


def test_an_evaluation_of_another_model_or_kind_is_refused(measured: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(BUNDLED)
    with pytest.raises(UsageError, match=r"is about the model .*, not 000000000000"):
        model_card(replace(checkpoint, digest="0" * 12), BUNDLED, str(measured))
    with pytest.raises(UsageError, match=r"not an evaluation\.json that 'emosphere evaluate' wrote"):
        model_card(checkpoint, BUNDLED, str(BUNDLED / "evaluation.json"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read as an evaluation"):
        model_card(checkpoint, BUNDLED, str(tmp_path / "broken.json"))


def measured_classes(ways: dict[str, float | None]) -> dict[str, Any]:
    """An evaluation without any dimension; the recall of a slice is half of that of all clips."""

    def figures(share: float) -> dict[str, Any]:
        one = {way: {"value": None if uar is None else share * uar} for way, uar in ways.items()}
        return {name: one for name in ("uar", "macro_f1", "accuracy")}

    sizes = {"clips": 9, "speakers": 3}
    return {
        "format": "emosphere-evaluation-1", "split": "test", "manifest": "m.parquet", "date": "2026-11-28",
        "clips": {"evaluated": 9, "audio_s": 60.0, "unreadable": [], "weak": 0},
        "bootstrap": {"over": "speakers", "interval": "95 %", "draws": 5}, "meanings": {},
        "overall": {"speakers": 3, "dimensions": {}, "figures": figures(1.0)},
        "slices": {"corpus": {"a": sizes | {"figures": figures(0.5)}, "b": sizes | {"too_small": "3 speakers"}}},
    }  # fmt: skip


def test_a_model_of_classes_alone_has_its_slices_by_recall() -> None:
    tables = figure_tables(measured_classes({"mood": 0.8}), {"mood": CategoryTask(words=("joy", "anger"))})
    assert "| mood | 0.80 | 0.80 | 0.80 |" in tables
    assert "Slices, UAR:\n\n|  | clips | speakers | mood |" in tables
    assert "| corpus: a | 9 | 3 | 0.40 |" in tables
    assert "| corpus: b | 9 | 3 | too small |" in tables


def test_only_ways_that_the_checkpoint_offers_are_in_the_table() -> None:
    tables = figure_tables(measured_classes({"head": 0.8, "head_at_weight_zero": None, "of_vad": 0.6}), TASKS)
    assert "| head | 0.80 | 0.80 | 0.80 |" in tables
    assert "| of_vad | 0.60 | 0.60 | 0.60 |" in tables
    assert "head_at_weight_zero" not in tables
