"""The model card: prose around tables made from evaluation.json; without prose of its own, what can be said of any."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from emosphere.errors import UsageError
from emosphere.model.checkpoint import Checkpoint
from emosphere.model.description import CARD_NAME, EVALUATION_NAME
from emosphere.store import ABSENT, locate
from emosphere.tasks import Task, questions
from emosphere.tasks.classes import ClassesTask
from emosphere.tasks.rated import RatedTask
from emosphere.vad import VAD_DIMS
from pipelines.card.figure_tables import figure_tables, is_measured

PLACE = "{figures}"
WIDTH: Final = 120
FEW_TEST_SPEAKERS: Final = 50
"""Below so many test speakers, a card says that they are few."""


def card_text(prose: str, evaluation: dict[str, Any], tasks: Mapping[str, Task]) -> str:
    """``prose`` with the tables in the place of ``{figures}``; without prose, a card from ``evaluation`` alone.

    ``tasks``: what the model answers, by head.
    """
    text = prose if prose.strip() else default_prose(evaluation, tasks)
    return text.lstrip().replace(PLACE, figure_tables(evaluation, tasks).rstrip())


def model_card(checkpoint: Checkpoint, folder: Path, evaluation: str | None) -> str:
    """The card in a model's ``folder``; with ``evaluation``, the file of `emosphere evaluate`, its figures added.

    Where the folder has no card, one is made from the evaluation. Empty without both. Raises UsageError when the file
    is something else, or about another model.
    """
    card = (folder / CARD_NAME).read_text(encoding="utf-8") if (folder / CARD_NAME).is_file() else ""
    if evaluation is None:
        return card
    measured, tasks = _read_measured(evaluation, checkpoint), checkpoint.config.tasks
    if not card.strip():
        return card_text("", measured, tasks)
    tables = figure_tables(measured, tasks).rstrip()
    return f"{card.rstrip()}\n\n## Evaluation on split {measured['split']}, with intervals and slices\n\n{tables}\n"


def default_prose(evaluation: dict[str, Any], tasks: Mapping[str, Task]) -> str:
    """What it hears, data, figures, limits, what it must not be used for, licence: as far as an evaluation knows."""
    model = evaluation["model"] if is_measured(evaluation) else evaluation.get("settings", {})
    licence = model.get("licence") or "not stated"
    limits = "\n".join(f"- {limit}" for limit in _limits(evaluation))
    valence = " Valence is harder to hear than arousal." if VAD_DIMS[0] in _dims(tasks) else ""
    return f"""# {model.get("name") or evaluation["name"]}

{_answers(tasks)}

**A score is perceived vocal expression. It is not what a person feels, means or intends, nor their honesty, health or
fitness for anything.**

This card follows from the evaluation alone. What only the people who trained the model know is missing: who speaks, in
which languages, recorded how, and how the labels came about. They can say it by `card` in the training configuration.

## Data and figures

{_figures(tasks)}

{PLACE}

## Limits

{limits}
- Other languages, other recordings, children and old voices, several voices at once: unknown where no table shows them;
  expect worse.{valence}
- Whatever it is given gets a score, music, song and noise included.
- Differences between groups of speakers are not known well enough to compare them, unless a table with intervals shows
  it.

## Must not be used

- To infer emotions of people at work or in education: prohibited in the European Union since 2 February 2025 by
  Regulation (EU) 2024/1689, Article 5(1)(f), medical and safety reasons excepted. Call-centre agents are at work.
- For hiring, appraisal, discipline, credit, insurance, policing, border control, health or lie detection, or any
  decision about a person.
- Elsewhere emotion recognition is high-risk under the same Regulation, and people exposed to it must be told
  (Article 50(3)).

## Licence

The weights: **{licence}**. Whether the corpora allow it is for whoever trained the model to know.
"""


def _read_measured(path: str, checkpoint: Checkpoint) -> dict[str, Any]:
    try:
        evaluation = json.loads(locate(path).read_bytes())
    except (*ABSENT, IsADirectoryError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as an evaluation ({error}).") from error
    if not isinstance(evaluation, dict) or not is_measured(evaluation):
        raise UsageError(f"{path}: not an {EVALUATION_NAME} that 'emosphere evaluate' wrote.")
    digest = evaluation["model"]["digest"]
    if digest != checkpoint.digest:
        raise UsageError(f"{path}: is about the model {digest}, not {checkpoint.digest}; evaluate this one.")
    return evaluation


def _answers(tasks: Mapping[str, Task]) -> str:
    """What it answers, and which columns of the tables of scores stay null."""
    *others, last = [task.says(tasks, head) for head, task in tasks.items()]
    said = f"{', '.join(others)}, and {last}" if others else last
    text = f"Hears speech at 16 kHz and says how it sounds: {said}."
    for head, task in questions(tasks).items():
        if head not in tasks and isinstance(task, RatedTask):
            text += f" It does not answer {', '.join(task.dims)}: those columns are null."
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _figures(tasks: Mapping[str, Task]) -> str:
    """What the figures of the tables are."""
    asked = questions(tasks)
    plurals = {task.plural for task in asked.values() if isinstance(task, ClassesTask)}
    figures = ["CCC is Lin's concordance (1 is perfect, chance 0)"] if _dims(tasks) else []
    if plurals:
        plural = plurals.pop() if len(plurals) == 1 else ClassesTask.plural
        figures.append(f"UAR is the mean recall over the {plural} that occur")
    return f"{'; '.join(figures)}." if figures else ""


def _dims(tasks: Mapping[str, Task]) -> list[str]:
    """Dimensions that the model answers."""
    return [dim for task in tasks.values() if isinstance(task, RatedTask) for dim in task.dims]


def _limits(evaluation: dict[str, Any]) -> Iterator[str]:
    if is_measured(evaluation):
        yield "The evaluation does not say what the model learnt from; whether its speakers were new is not known here."
        speakers = evaluation["overall"]["speakers"]
        corpora = sorted(evaluation["slices"].get("corpus", {}))
    elif evaluation["test"] is None:
        yield "**No speaker was kept apart for a test: how well it hears new ones is not known.**"
        return
    else:
        speakers = sum(count["speakers"] for count in evaluation["evaluated_on"].values())
        corpora = sorted(evaluation["evaluated_on"])
    if speakers < FEW_TEST_SPEAKERS:
        yield f"The test has {speakers} speakers, which is few: the figures would change with others."
    if len(corpora) == 1:
        yield f"All test clips are from one corpus, {corpora[0]}: expect lower figures elsewhere."
