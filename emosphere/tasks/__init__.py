"""Questions that a network can be asked: a file each, from the label in the manifest to the columns of the tables."""

from collections.abc import Mapping

from emosphere.tasks.category import CATEGORY, CategoryTask
from emosphere.tasks.region import REGION, RegionTask
from emosphere.tasks.task import Labelled, Published, Target, Task
from emosphere.tasks.vad import VAD, VadTask

Task.KINDS.update({VAD: VadTask, REGION: RegionTask, CATEGORY: CategoryTask})

__all__ = ["Labelled", "Published", "Target", "Task", "questions", "refuse_shared_columns", "tasks_of"]


def questions(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """``tasks``, by head, and what is asked of a model even where none of its heads answers it.

    That is the point on the sphere, which every table of scores has columns for, and the region that follows from it.
    """
    asked = dict(tasks)
    kinds = {task.kind for task in tasks.values()}
    if VAD in kinds and REGION not in kinds:
        asked.setdefault(REGION, RegionTask())
    return asked if VAD in kinds else {VAD: VadTask()} | asked


def tasks_of(labels_of_heads: Mapping[str, str], labels: Mapping[str, Task]) -> dict[str, Task]:
    """The task of each head, from the name of the label that each answers.

    A label that ``labels`` does not describe is of the kind of its own name, with that kind's settings. Raises
    ValueError for a label of no kind.
    """
    tasks: dict[str, Task] = {}
    for head, label in labels_of_heads.items():
        if label not in labels and label not in Task.KINDS:
            raise ValueError(
                f"the head {head!r} answers the label {label!r}, of which nothing is known: describe it in "
                f"[labels.{label}], with kind = one of {', '.join(Task.KINDS)}."
            )
        tasks[head] = labels[label] if label in labels else Task.KINDS[label](kind=label)
    return tasks


def refuse_shared_columns(tasks: Mapping[str, Task]) -> None:
    """Raise ValueError where two of a model's heads would fill the same column."""
    filled_by: dict[str, str] = {}
    for head, task in tasks.items():
        for column in task.columns_filled:
            if (other := filled_by.setdefault(column, head)) != head:
                raise ValueError(f"the heads {other!r} and {head!r} would both fill the column {column!r}; keep one.")
