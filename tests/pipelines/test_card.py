"""A card quotes the evaluation and nothing else."""

from typing import Any

from pipelines.card import card_text, figure_tables


def part(clips: int, valence: float) -> dict[str, Any]:
    regions = {
        "clips": clips,
        "uar": 0.5,
        "chance": 0.5,
        "names": ["one", "two"],
        "confusion": {"one": [3, 1], "two": [2, 4]},
    }
    return {
        "clips": clips,
        "ccc": {"valence": valence, "arousal": 0.6, "dominance": 0.3},
        "region_of_vad": regions,
        "region_head": regions,
    }


EVALUATION: dict[str, Any] = {
    "name": "tiny",
    "date": "2026-11-21",
    "parameters": 1234,
    "trained_on": {"a": {"clips": 5, "speakers": 2}},
    "evaluated_on": {"a": {"clips": 10, "speakers": 1}},
    "test": part(10, 0.411) | {"corpora": {"a": part(10, 0.411)}},
    "test_distorted": None,
    "cross_validation": None,
    "rated": {"clips": 28, "ccc": {"valence": 0.2, "arousal": 0.7}},
    "regions_that_never_occur": ["A-V-D+"],
}


def test_tables_stand_in_the_place_kept_for_them() -> None:
    card = card_text("\n# T\n\n{figures}\n\nEnd {not a field}.\n", EVALUATION)
    assert card.startswith("# T\n\n1,234 parameters")
    assert "| all test speakers | 10 | 0.41 | 0.60 | 0.30 | 0.50 | 0.50 | 0.50 |" in card
    assert card.endswith("never learnt: A-V-D+.\n\nEnd {not a field}.\n")


def test_without_prose_the_tables_have_a_title() -> None:
    assert card_text("", EVALUATION).startswith("# tiny\n\nTrained on 2026-11-21.")


def test_the_confusion_names_rows_and_columns() -> None:
    tables = figure_tables(EVALUATION)
    assert "|  | one | two |\n| --- | --- | --- |\n| one | 3 | 1 |\n| two | 2 | 4 |" in tables


def test_what_was_not_measured_is_not_mentioned() -> None:
    bare = EVALUATION | {"test": None, "rated": None, "evaluated_on": {}, "regions_that_never_occur": []}
    assert "CCC" not in figure_tables(bare)
    assert "Kept apart for the test: nothing." in figure_tables(bare)
