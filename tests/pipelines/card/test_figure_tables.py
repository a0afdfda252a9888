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
from pipelines.card.figure_tables import figure_tables, is_measured
from pipelines.card.text import card_text, model_card
from pipelines.evaluate.command import evaluate
from tests.evaluations import EVALUATION


def test_the_confusion_names_rows_and_columns() -> None:
    tables = figure_tables(EVALUATION)
    assert "|  | one | two |\n| --- | --- | --- |\n| one | 3 | 1 |\n| two | 2 | 4 |" in tables


def test_what_was_not_measured_is_not_mentioned() -> None:
    bare = EVALUATION | {"test": None, "rated": None, "evaluated_on": {}, "regions_that_never_occur": []}
    assert "CCC" not in figure_tables(bare)
    assert "Kept apart for the test: nothing." in figure_tables(bare)


def test_the_card_does_not_call_test_speakers_new_when_they_are_not() -> None:
    assert "none of whom was learnt from" in figure_tables(EVALUATION)
    tables = figure_tables(EVALUATION | {"test_speakers_known": 3})
    assert "none of whom" not in tables
    assert "**3 of their speakers were learnt from or chosen by**" in tables


def test_the_rated_corpora_are_named_where_they_are_known() -> None:
    assert "(28 clips, not learnt from; too few for a benchmark)" in figure_tables(EVALUATION)
    rated = {"clips": 500, "corpora": ["a", "b"], "ccc": {"valence": 0.2, "arousal": 0.7}}
    assert "(500 clips of a, b, not learnt from):" in figure_tables(EVALUATION | {"rated": rated})


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
    tables = figure_tables(evaluation)
    for dim in ("valence", "arousal", "dominance"):
        figure = evaluation["overall"]["figures"]["ccc"][dim]
        assert f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]" in tables
    assert "30 clips of" in tables
    assert "30 of the targets are means of emotion *words*" in tables
    for kind, parts in evaluation["slices"].items():
        for name, part in parts.items():
            assert f"| {kind}: {name} | {part['clips']} | {part['speakers']} |" in tables
    assert str(measured.parents[1]) not in tables


def test_a_figure_that_is_not_defined_says_so(measured: Path) -> None:
    evaluation = json.loads(measured.read_text())
    evaluation["overall"]["figures"]["ccc"]["valence"] = {"value": None, "low": None, "high": None, "reason": "..."}
    assert "| ccc | not defined | " in figure_tables(evaluation)


def test_a_card_can_be_made_of_it_alone(measured: Path) -> None:
    evaluation: dict[str, Any] = json.loads(measured.read_text())
    card = card_text("", evaluation)
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
