"""A card quotes the evaluation and nothing else."""

from pipelines.card.text import card_text
from tests.evaluations import EVALUATION


def test_tables_stand_in_the_place_kept_for_them() -> None:
    card = card_text("\n# T\n\n{figures}\n\nEnd {not a field}.\n", EVALUATION)
    assert card.startswith("# T\n\n1,234 parameters")
    assert "| all test speakers | 10 | 0.41 | 0.60 | 0.30 | 0.50 | 0.50 | 0.50 |" in card
    assert card.endswith("never learnt: A-V-D+.\n\nEnd {not a field}.\n")


def test_without_prose_the_card_says_what_an_evaluation_can() -> None:
    card = card_text(" \n", EVALUATION)
    assert card.startswith("# tiny\n\nHears speech at 16 kHz")
    for words in (
        "in [-1, 1] with 0 as the middle",
        "| all test speakers | 10 | 0.41 |",
        "The test has 1 speakers, which is few",
        "All test clips are from one corpus, a:",
        "not what a person feels",
        "Must not be used",
        "Regulation (EU) 2024/1689",
        "The weights: **not stated**",
    ):
        assert words in card
    assert "{" not in card


def test_the_licence_and_the_regions_of_the_training_are_told() -> None:
    settings = {"name": "mine", "licence": "CC-BY-4.0", "network": {"heads": {"region": {"outputs": 18}}}}
    card = card_text("", EVALUATION | {"settings": settings})
    assert card.startswith("# mine\n")
    assert "a probability for each of 18 regions" in card
    assert "The weights: **CC-BY-4.0**" in card
    left_out = card_text("", EVALUATION | {"settings": settings | {"auxiliary_heads": ["region"]}})
    assert "a probability for each" not in left_out


def test_without_a_test_the_card_says_that_nothing_is_known() -> None:
    card = card_text("", EVALUATION | {"test": None, "evaluated_on": {}})
    assert "**No speaker was kept apart for a test: how well it hears new ones is not known.**" in card
