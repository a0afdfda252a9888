"""Every rank finds the figures over the clips of all ranks, whichever answered which."""

from typing import Any

import pytest
import torch

from emosphere.clips.batches import InMemoryClips
from emosphere.clips.manifest import Clip
from emosphere.tasks import tasks_of
from emosphere.tasks.category import CategoryTask
from emosphere.training import Answers
from pipelines.train import choice_figures as module
from pipelines.train.choice_figures import choice_figures, logged_figures

TASKS = tasks_of({"vad": "vad", "mood": "mood"}, {"mood": CategoryTask(words=("joy", "anger"))})
ROWS = [6, 2, 5, 0, 3]


def clips() -> InMemoryClips:
    made = [
        Clip(uri=f"{row}", speaker="s", corpus="c", split="dev", vad=(row / 8, -row / 8, 0.0), category=word)
        for row, word in enumerate(["joy", "anger", "anger", "joy", "joy", None, "anger"])
    ]
    return InMemoryClips(tuple(made), ((),), TASKS)


def network() -> Any:
    holder: Any = torch.nn.Identity()
    holder.tasks = TASKS
    return holder


def answers_for(_: Any, clips: InMemoryClips, rows: list[int]) -> Answers:
    """Right, but for clip 2 whose mood is taken for the other."""
    assert rows
    targets = clips.targets(rows)
    mood = [1 - value if row == 2 else value for row, value in zip(rows, targets["mood"].values.tolist(), strict=True)]
    return {"vad": targets["vad"].values, "mood": torch.eye(2)[mood]}


@pytest.mark.parametrize(("rows", "num_ranks"), [(ROWS, 1), (ROWS, 2), (ROWS, 3), ([6, 2], 3)])
def test_figures_are_over_the_clips_of_all_ranks(
    rows: list[int], num_ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "answers_for", answers_for)
    held = clips()

    def all_gather_object(parts: list[Any], own: Any) -> None:
        """What every rank would say, of its own rows."""
        shares = [rows[rank::num_ranks] for rank in range(num_ranks)]
        assert own[0] in shares
        parts[:] = [(share, answers_for(None, held, share) if share else {}) for share in shares]

    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather_object)
    for rank in range(num_ranks):
        figures = choice_figures(network(), held, rows, rank=rank, num_ranks=num_ranks)
        assert figures["vad"]["ccc_valence"] == figures["vad"]["ccc_arousal"] == 1
        # Of joy 0 and 3 (where they are asked for), of anger 6 and 2, of which 2 is taken for joy; 5 has no mood.
        assert figures["mood"]["uar"] == pytest.approx(0.75 if rows == ROWS else 0.5)
        assert figures["mood"]["accuracy"] == pytest.approx(0.75 if rows == ROWS else 0.5)


def test_a_head_without_any_label_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "answers_for", answers_for)
    assert set(choice_figures(network(), clips(), [5], rank=0, num_ranks=1)) == {"vad"}


def test_figures_are_logged_under_the_names_of_their_heads() -> None:
    figures = {"vad": {"ccc": 0.5, "ccc_valence": 0.25}, "mood": {"uar": 0.75}}
    assert logged_figures(figures, TASKS) == {"ccc": 0.5, "ccc_valence": 0.25, "mood_uar": 0.75}
