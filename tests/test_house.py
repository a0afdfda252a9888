"""Rules of the house that no single file can keep for itself."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from emosphere.tasks import Task
from jobs.__main__ import app

VERBS = [command.callback.__name__ for command in app.registered_commands if command.callback is not None]

LARGEST_FILE_BYTES = 10 * 1000 * 1000

# Written in pieces, so that this file does not hold what it looks for.
REGISTRY_ADDRESS = re.compile(
    r"\b(?:test\.)?py" r"pi\.(?:org|io)|pythonhosted\.|download\.py" r"torch\.org|registry\.npm" r"js\.|"
    r"(?:deb|security|archive|ports)\.(?:deb" r"ian|ub" r"untu)\.|"
    r"(?:--|^\s*)(?:extra-)?index" r"-url[ =]|--find" r"-links[ =]",
    re.MULTILINE | re.IGNORECASE,
)  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w./:>-])/(?:wo" r"rk|ro" r"ot|Us" r"ers|ho" r"me)/[\w.]")


def tracked_files(root: Path) -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout.decode()
    return [root / name for name in listing.split("\0") if name and (root / name).is_file()]


def hits(root: Path, pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked_files(root):
        content = path.read_bytes()
        if b"\0" in content:
            continue
        text = content.decode("utf-8", errors="replace")
        found += [
            f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
            for match in pattern.finditer(text)
        ]
    return found


def test_no_tracked_file_holds_the_address_of_a_registry(root: Path) -> None:
    assert hits(root, REGISTRY_ADDRESS) == []


def test_no_tracked_file_holds_a_path_of_one_machine(root: Path) -> None:
    assert hits(root, MACHINE_PATH) == []


def test_no_tracked_file_is_large(root: Path) -> None:
    large = {
        str(path.relative_to(root)): path.stat().st_size
        for path in tracked_files(root)
        if path.stat().st_size > LARGEST_FILE_BYTES
    }
    assert large == {}


def test_no_tracked_file_is_a_drawer(root: Path) -> None:
    drawers = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert [str(path.relative_to(root)) for path in tracked_files(root) if path.stem in drawers] == []


@pytest.mark.parametrize(
    "address",
    ["https://py" + "pi.org/simple", "files.python" + "hosted.org/x.whl", "pip install --index" + "-url https://x"],
)
def test_the_search_for_addresses_finds_them(address: str) -> None:
    assert REGISTRY_ADDRESS.search(address)


@pytest.mark.parametrize("line", ["cd /wo" + "rk/main", 'OUT = "/ho' + 'me/ann/out"', "'/ro" + "ot/.venv'"])
def test_the_search_for_machine_paths_finds_them(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize("line", ["s3://bucket/work/a.wav", "docs/home/index.md", "../work/x", "/workers"])
def test_the_search_for_machine_paths_lets_others_pass(line: str) -> None:
    assert not MACHINE_PATH.search(line)


def test_every_lock_line_has_a_hash_and_no_address(root: Path) -> None:
    for name, least in (("requirements.lock", 50), ("requirements-dev.lock", 50), ("requirements-bench.lock", 1)):
        text = (root / name).read_text()
        assert "://" not in text
        entries = re.split(r"\n(?=[a-z0-9])", text)
        assert len(entries) >= least
        assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_runtime_lock_is_part_of_the_development_lock(root: Path) -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9][\w.-]*==[^\s;]+)", (root / name).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_every_import_points_the_agreed_way(root: Path) -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_door_an_entry_of_its_name_and_tests(root: Path, verb: str) -> None:
    assert verb in functions_of(root / "jobs" / f"{verb}.py")
    assert verb in functions_of(root / "pipelines" / verb / "command.py")
    at_the_door = root / "tests" / "jobs" / f"test_{verb}.py"
    assert at_the_door.is_file() or list((root / "tests" / "pipelines" / verb).glob("test_*.py"))


def functions_of(path: Path) -> set[str]:
    """Names of the functions that stand in a file, not inside others."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_door_and_every_command_is_a_verb(root: Path) -> None:
    """All else that doors share lies in `jobs/door`; `demo` is what `make demo` runs."""
    assert {path.stem for path in (root / "jobs").glob("*.py")} == {*VERBS, "__init__", "__main__", "demo"}
    assert {path.parent.name for path in (root / "pipelines").glob("*/command.py")} == set(VERBS)


TASKS = frozenset(Task.KINDS)
"""Names of tasks, and of the heads that answer them where nobody calls them otherwise."""
OF_ALL_TASKS = frozenset({"task", "classes", "rated"})
"""Modules of `emosphere/tasks` that are of no single one."""
TASKS_AT_HOME = ("emosphere/tasks/", "emosphere/tables/")
COLUMN = "a column of the manifest, or what a corpus calls it"
NAMED_ELSEWHERE = {
    "emosphere/clips/": ({"category"}, COLUMN),
    "emosphere/corpora/": ({"category"}, COLUMN),
    "pipelines/prepare/command.py": ({"category"}, COLUMN),
    "emosphere/evaluation/slices.py": ({"category"}, COLUMN),
    "emosphere/evaluation/page_sections.py": ({"category"}, "the slice by that column"),
    "emosphere/evaluation/predictions.py": ({"category", "region"}, "columns of predictions.parquet"),
    "emosphere/training/first_settings.py": ({"region"}, "what a setting of before meant where it was left out"),
    "benchmarks/bench_peers.py": ({"vad", "region"}, "the heads of a network of its own, as a settings file has them"),
    "benchmarks/peers/shared_work.py": ({"vad"}, "a head of the same network"),
}
"""File, or folder -> words that it may hold, and why that is no head's name."""
ONE_TASK = {
    "emosphere/model/first_format.py": "two heads were known by their names in that format",
    "emosphere/model/adopt/": "published models answer VAD",
    "emosphere/evaluation/predictions.py": "VAD and region have columns in every table of answers",
    "pipelines/evaluate/command.py": "how many regions a page's table has",
    "pipelines/score/publish/result.py": "how many regions the file's table has",
    "pipelines/train/report.py": "a word's point, a weak label, is held against ratings of VAD",
    "pipelines/ablate/command.py": "the paper's tables have the CCC of VAD",
}
"""File, or folder -> why it knows a single task, where others loop over those of a model."""


def sources_without_tasks(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Files in which tasks are what a model has, whatever they are."""
    for package in ("emosphere", "pipelines", "jobs", "benchmarks"):
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(TASKS_AT_HOME):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def tasks_named(tree: ast.Module) -> dict[str, list[int]]:
    """Name of a task -> lines that hold it as a string."""
    lines: dict[str, list[int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in TASKS:
            lines.setdefault(node.value, []).append(node.lineno)
    return lines


def entry_of(name: str, entries: Iterable[str]) -> str | None:
    """The file itself, or the folder that it lies in."""
    return next((entry for entry in entries if name == entry or (entry[-1] == "/" and name.startswith(entry))), None)


def test_no_file_but_a_task_names_one(root: Path) -> None:
    """A new question is a file of `emosphere/tasks`; what asks for a head by its name would have to learn of it."""
    odd, used = [], set()
    for name, tree in sources_without_tasks(root):
        entry = entry_of(name, NAMED_ELSEWHERE)
        allowed = NAMED_ELSEWHERE[entry][0] if entry else set()
        for word, lines in tasks_named(tree).items():
            used.add((entry, word))
            odd += [f"{name}:{line}: {word!r}" for line in lines if word not in allowed]
    assert not odd, "loop over the tasks of the model, or say in NAMED_ELSEWHERE why not:\n" + "\n".join(odd)
    allowed_in = {(entry, word) for entry, (words, _) in NAMED_ELSEWHERE.items() for word in words}
    assert allowed_in - used == set(), "no longer needed"


def test_no_file_but_a_task_imports_one(root: Path) -> None:
    found = {
        name
        for name, tree in sources_without_tasks(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("emosphere.tasks.")
        and (node.module or "").split(".")[2] not in OF_ALL_TASKS
    }
    odd = sorted(name for name in found if entry_of(name, ONE_TASK) is None)
    assert not odd, f"loop over the tasks of the model, or say in ONE_TASK why not: {', '.join(odd)}"
    assert ONE_TASK.keys() - {entry_of(name, ONE_TASK) for name in found} == set(), "no longer needed"


@pytest.mark.parametrize("line", ['answers["vad"]', 'if "region" in heads: pass', "kind == 'category'"])
def test_a_task_that_is_named_is_seen(line: str) -> None:
    assert tasks_named(ast.parse(line))


@pytest.mark.parametrize("line", ['row["region_prob"]', "answers[head]", '"""The vad head."""', "task.kind == VAD"])
def test_a_task_that_is_not_named_is_not_seen(line: str) -> None:
    assert not tasks_named(ast.parse(line))


def test_the_library_imports_without_ray_and_without_the_network(root: Path) -> None:
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((root / "emosphere").rglob("*.py"))
        if path.stem != "__main__"
    ]
    command = [sys.executable, "-m", "tests.import_alone", *modules]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
