"""Rules of the house that no single file can keep for itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_library_imports_without_ray_and_without_the_network(root: Path) -> None:
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((root / "emosphere").rglob("*.py"))
        if path.stem != "__main__"
    ]
    command = [sys.executable, "-m", "tests.import_alone", *modules]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
