"""The model card: prose around tables made from evaluation.json; without prose of its own, what can be said of any."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from emosphere.errors import UsageError
from emosphere.model.checkpoint import Checkpoint
from emosphere.model.description import CARD_NAME, EVALUATION_NAME
from emosphere.store import ABSENT, locate
from pipelines.card.figure_tables import figure_tables, is_measured

PLACE = "{figures}"
FEW_TEST_SPEAKERS: Final = 50
"""Below so many test speakers, a card says that they are few."""


def card_text(prose: str, evaluation: dict[str, Any]) -> str:
    """``prose`` with the tables in the place of ``{figures}``; without prose, a card from ``evaluation`` alone."""
    text = prose if prose.strip() else default_prose(evaluation)
    return text.lstrip().replace(PLACE, figure_tables(evaluation).rstrip())


def model_card(checkpoint: Checkpoint, folder: Path, evaluation: str | None) -> str:
    """The card in a model's ``folder``; with ``evaluation``, the file of `emosphere evaluate`, its figures added.

    Where the folder has no card, one is made from the evaluation. Empty without both. Raises UsageError when the file
    is something else, or about another model.
    """
    card = (folder / CARD_NAME).read_text(encoding="utf-8") if (folder / CARD_NAME).is_file() else ""
    if evaluation is None:
        return card
    measured = _read_measured(evaluation, checkpoint)
    if not card.strip():
        return card_text("", measured)
    tables = figure_tables(measured).rstrip()
    return f"{card.rstrip()}\n\n## Evaluation on split {measured['split']}, with intervals and slices\n\n{tables}\n"


def default_prose(evaluation: dict[str, Any]) -> str:
    """What it hears, data, figures, limits, what it must not be used for, licence: as far as an evaluation knows."""
    model = evaluation["model"] if is_measured(evaluation) else evaluation.get("settings", {})
    licence = model.get("licence") or "not stated"
    limits = "\n".join(f"- {limit}" for limit in _limits(evaluation))
    return f"""# {model.get("name") or evaluation["name"]}

Hears speech at 16 kHz and says how it sounds: valence, arousal and dominance, each in [-1, 1] with 0 as the middle of
the rating scale{_regions(evaluation)}.

**A score is perceived vocal expression. It is not what a person feels, means or intends, nor their honesty, health or
fitness for anything.**

This card follows from the evaluation alone. What only the people who trained the model know is missing: who speaks, in
which languages, recorded how, and how the labels came about. They can say it by `card` in the training configuration.

## Data and figures

CCC is Lin's concordance (1 is perfect, chance 0); UAR is the mean recall over the regions that occur.

{PLACE}

## Limits

{limits}
- Other languages, other recordings, children and old voices, several voices at once: unknown where no table shows them;
  expect worse. Valence is harder to hear than arousal.
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


def _regions(evaluation: dict[str, Any]) -> str:
    if is_measured(evaluation):
        has_head = evaluation["overall"]["figures"]["uar"].get("head", {}).get("value") is not None
        count = evaluation["model"]["num_regions"] if has_head else 0
    else:
        settings = evaluation.get("settings", {})
        head = settings.get("network", {}).get("heads", {}).get("region", {})
        count = 0 if "region" in settings.get("auxiliary_heads", ()) else head.get("outputs", 0)
    return f", and a probability for each of {count} regions of that space" if count else ""


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
