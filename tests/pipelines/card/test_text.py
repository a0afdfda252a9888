"""A card quotes the evaluation and nothing else."""

from emosphere.tasks.category import CategoryTask
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask
from pipelines.card.text import card_text
from tests.evaluations import EVALUATION, TASKS


def test_tables_stand_in_the_place_kept_for_them() -> None:
    card = card_text("\n# T\n\n{figures}\n\nEnd {not a field}.\n", EVALUATION, TASKS)
    assert card.startswith("# T\n\n1,234 parameters")
    assert "| all test speakers | 10 | 0.41 | 0.60 | 0.30 | 0.50 | 0.50 | 0.50 |" in card
    assert card.endswith("never learnt: A-V-D+.\n\nEnd {not a field}.\n")


def test_without_prose_the_card_says_what_an_evaluation_can() -> None:
    card = card_text(" \n", EVALUATION, TASKS)
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


def test_the_licence_of_the_training_and_the_models_regions_are_told() -> None:
    settings = {"name": "mine", "licence": "CC-BY-4.0"}
    tasks = TASKS | {"region": RegionTask(regions=18)}
    card = card_text("", EVALUATION | {"settings": settings}, tasks)
    assert card.startswith("# mine\n")
    assert "a probability for each of 18 regions" in card
    assert "The weights: **CC-BY-4.0**" in card
    assert "a probability for each" not in card_text("", EVALUATION, {"vad": VadTask()})


def test_without_a_test_the_card_says_that_nothing_is_known() -> None:
    card = card_text("", EVALUATION | {"test": None, "evaluated_on": {}}, TASKS)
    assert "**No speaker was kept apart for a test: how well it hears new ones is not known.**" in card


def test_what_it_hears_stands_in_the_first_sentence() -> None:
    """By its tasks, in lines of at most 120 letters; a card of VAD and regions reads as it always did."""
    assert (
        "\nHears speech at 16 kHz and says how it sounds: valence, arousal and dominance, each in [-1, 1] with 0 as "
        "the middle of\nthe rating scale, and a probability for each of 8 regions of that space.\n\n"
    ) in card_text("", EVALUATION, TASKS)
    with_words = card_text("", EVALUATION, TASKS | {"category": CategoryTask(words=("joy", "anger"))})
    assert "of that space, and a probability for each of 2 categories (joy, anger)." in with_words.replace("\n", " ")
    assert max(map(len, with_words.split("\n## ")[0].splitlines())) <= 120


def test_the_card_of_a_model_without_vad_names_the_columns_that_stay_null() -> None:
    card = card_text("", EVALUATION, {"category": CategoryTask(words=("joy", "anger"))}).replace("\n", " ")
    assert "says how it sounds: a probability for each of 2 categories (joy, anger). It does not answer" in card
    assert "It does not answer valence, arousal, dominance: those columns are null." in card
    assert "UAR is the mean recall over the categories that occur." in card
    assert "Lin's concordance" not in card
    assert "Valence is harder" not in card
    assert "It does not answer" not in card_text("", EVALUATION, TASKS)


def test_a_region_without_its_point_says_which_space_it_means() -> None:
    card = card_text("", EVALUATION, {"region": RegionTask()}).replace("\n", " ")
    assert "a probability for each of 8 regions of the space of valence, arousal and dominance." in card
