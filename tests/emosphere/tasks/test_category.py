"""Categories: words of the manifest to classes, and the most probable one to columns."""

import json

import numpy as np
import pytest
import torch

from emosphere.emotion_words import EMOTIONS
from emosphere.tasks import Published, Task
from emosphere.tasks.category import CategoryTask
from tests.labelled import LabelledClip

WORDS = ("sad", "glad", "calm")


def test_labels_are_places_among_the_words_and_other_words_are_unknown() -> None:
    clips = [LabelledClip(category=word) for word in ("glad", "calm", "furious", None, "", "sad", "Glad")]
    labels, is_known = CategoryTask(words=WORDS).labels(clips)
    assert is_known.tolist() == [True, True, False, False, False, True, False]
    assert labels[is_known].tolist() == [1, 2, 0]
    assert labels.dtype == np.int64
    assert ((labels >= 0) & (labels < 3)).all()  # an index into weights, whatever it means


def test_without_settings_the_words_are_those_of_the_house() -> None:
    assert CategoryTask().classes == EMOTIONS
    assert CategoryTask().outputs == len(EMOTIONS)


@pytest.mark.parametrize("words", [(), ("sad",), ("sad", "glad", "sad")])
def test_too_few_or_equal_words_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must be two or more different words"):
        CategoryTask(words=words)


def test_a_temperature_that_divides_by_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature=-1\.0 must be above 0"):
        CategoryTask(temperature=-1.0)


def test_the_most_probable_word_fills_the_columns() -> None:
    probs = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], np.float32)
    tasks: dict[str, Task] = {"mood": CategoryTask(words=WORDS)}
    columns = tasks["mood"].columns(Published(tasks, {"mood": probs}), "mood")
    assert columns["category"].tolist() == ["glad", "sad"]
    assert columns["category_prob"].tolist() == [probs[0, 1], probs[1, 0]]
    assert [json.loads(text) for text in columns["category_probs"]] == [
        {"sad": 0.2, "glad": 0.5, "calm": 0.3},
        {"sad": 0.6, "glad": 0.3, "calm": 0.1},
    ]


def test_what_is_published_is_calibrated_probabilities_that_fill_the_same_word() -> None:
    answers = torch.tensor([[0.0, 2.0, 1.0]]).double()
    sharp = CategoryTask(words=WORDS).published(answers)
    flat = CategoryTask(words=WORDS, temperature=4.0).published(answers)
    torch.testing.assert_close(flat, (answers / 4).exp() / (answers / 4).exp().sum())
    assert flat.argmax() == sharp.argmax() == 1
    assert flat.max() < sharp.max()


def test_the_graph_names_its_classes() -> None:
    task = CategoryTask(words=WORDS)
    assert task.graph_output("mood") == "mood_probs"
    assert task.graph_metadata("mood") == {"mood_names": json.dumps(list(WORDS))}


def test_the_report_counts_clips_of_known_words() -> None:
    clips = [LabelledClip(category=word) for word in ("sad", "sad", "glad", None)]
    answers = {"mood": torch.eye(3)[[0, 1, 1, 2]]}
    task = CategoryTask(words=WORDS)
    report = task.report({"mood": task}, answers, "mood", clips)
    assert report == {
        "mood_head": {
            "clips": 3,
            "uar": 0.75,
            "chance": 0.5,
            "macro_f1": 0.6667,
            "accuracy": 0.6667,
            "names": list(WORDS),
            "confusion": {"sad": [1, 1, 0], "glad": [0, 1, 0]},
        }
    }
    assert task.report({"mood": task}, answers, "mood", [LabelledClip()] * 4) == {}


def test_members_agree_on_the_mean_of_their_probabilities() -> None:
    answers = torch.randn(3, 5, 3).double()
    agreed = CategoryTask(words=WORDS).agree(answers).softmax(dim=1)
    torch.testing.assert_close(agreed, sum(member.softmax(dim=1) for member in answers) / 3)
