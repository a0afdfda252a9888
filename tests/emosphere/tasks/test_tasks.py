"""What holds of every task: found by kind, its columns are those of the tables, and importing it costs no torch."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from emosphere.config import from_mapping, to_mapping
from emosphere.errors import UsageError
from emosphere.tables.schema import SEGMENTS, columns_from
from emosphere.tasks import Published, Task, refuse_shared_columns, tasks_of
from emosphere.tasks.category import CategoryTask
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask
from tests.labelled import LabelledClip


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Settings that hold labels by name."""

    labels: dict[str, Task] = field(default_factory=dict)


TASKS: list[Task] = [task_class(kind=kind) for kind, task_class in Task.KINDS.items()]


def test_the_registry_knows_each_by_the_kind_that_it_says() -> None:
    assert {kind: task_class(kind=kind).kind for kind, task_class in Task.KINDS.items()} == {
        kind: kind for kind in Task.KINDS
    }
    assert {type(task) for task in TASKS} >= {VadTask, RegionTask, CategoryTask}


def test_every_column_of_a_task_is_a_nullable_one_of_the_model_and_has_one_kind_to_fill_it() -> None:
    filled = [column for task in TASKS for column in task.columns_filled]
    assert sorted(filled) == sorted(columns_from("segments", "model"))
    by_name = {column.name: column for column in SEGMENTS}
    assert all(by_name[name].nullable and by_name[name].origin == "model" for name in filled)


@pytest.mark.parametrize("num_clips", [0, 3])
def test_a_task_fills_the_columns_that_it_says_one_value_a_clip(num_clips: int) -> None:
    tasks = {task.kind: task for task in TASKS}
    answers = {
        kind: task.published(torch.randn(num_clips, task.outputs)).numpy().astype(np.float32)
        for kind, task in tasks.items()
    }
    for kind, task in tasks.items():
        columns = task.columns(Published(tasks, answers), kind)
        assert sorted(columns) == sorted(task.columns_filled)
        assert {len(values) for values in columns.values()} == {num_clips}


def test_labels_and_their_masks_fit_each_other_and_the_head() -> None:
    clips = [LabelledClip(vad=(0.5, 0.5, 0.5), category="anger"), LabelledClip()]
    for task in TASKS:
        values, is_known = task.labels(clips)
        assert values.shape == is_known.shape
        assert is_known.dtype == np.bool_
        assert is_known[0].all()
        assert not is_known[1].any()


def test_a_head_answers_the_label_of_its_own_name_unless_it_names_another() -> None:
    mood = CategoryTask(words=("a", "b"))
    assert tasks_of({"vad": "vad", "area": "region", "feeling": "mood"}, {"mood": mood}) == {
        "vad": VadTask(),
        "area": RegionTask(),
        "feeling": mood,
    }
    assert tasks_of({"vad": "vad"}, {"vad": VadTask(radius_90=0.5), "unasked": mood}) == {"vad": VadTask(radius_90=0.5)}


def test_a_label_that_is_described_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'age' answers the label 'age', .* in \[labels\.age\].* vad, region, categ"):
        tasks_of({"age": "age"}, {})


def test_two_heads_for_one_column_are_refused() -> None:
    with pytest.raises(ValueError, match="heads 'vad' and 'again' would both fill the column 'valence'; keep one"):
        refuse_shared_columns(tasks_of({"vad": "vad", "again": "vad"}, {}))
    words = {"few": CategoryTask(words=("a", "b")), "many": CategoryTask(words=("a", "b", "c"))}
    with pytest.raises(ValueError, match="heads 'few' and 'many' would both fill the column 'category'"):
        refuse_shared_columns(tasks_of({"few": "few", "many": "many"}, words))


@pytest.mark.parametrize(
    "task", [*TASKS, VadTask(radius_90=0.5), RegionTask(regions=32), CategoryTask(words=("a", "b"))]
)
def test_a_task_is_a_table_of_settings(task: Task) -> None:
    read = from_mapping(Holder, {"labels": {"x": to_mapping(task)}}, source="test").labels
    assert read == {"x": task}
    with pytest.raises(UsageError, match=r"labels\.x: expected a table with kind = one of 'vad', 'region', 'category'"):
        from_mapping(Holder, {"labels": {"x": {"kind": "age"}}}, source="test")


@pytest.mark.parametrize("module", ["emosphere.tasks", "emosphere.tasks.vad", "emosphere.model.description"])
def test_what_a_plan_needs_of_a_model_imports_no_torch(module: str, root: Path) -> None:
    """It takes seconds, and 450 MB in each process."""
    program = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
