"""The door: exit codes, the one JSON line, the summary."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def manifest(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with (shared_data / "emotion" / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][::60]
    path = tmp_path_factory.mktemp("evaluate") / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"path": str(shared_data / row["path"])} for row in rows)
    return path


def test_the_summary_says_what_was_found_and_where_to_look(emosphere: Call, manifest: Path, tmp_path: Path) -> None:
    answer = emosphere("evaluate", "default", manifest, "--out", tmp_path, "--num-bootstrap", 100)
    assert answer.code == 0
    assert "CCC arousal" in answer.out
    assert "means of emotion words" in answer.out
    assert f"{tmp_path}/index.html" in answer.out
    assert (tmp_path / "index.html").is_file()


def test_json_is_one_line_with_the_comparison(emosphere: Call, manifest: Path, tmp_path: Path) -> None:
    answer = emosphere(
        "evaluate", "default", manifest, "--out", tmp_path, "--num-bootstrap", 100, "--against", "default", "--json"
    )
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 1
    assert answer.json["clips"] == 11
    assert answer.json["against"]["ccc"]["mean"]["p"] == 1
    assert answer.json["against"]["uar"]["of_vad"]["difference"] == 0


def test_a_dry_run_says_what_would_be_done(emosphere: Call, manifest: Path, tmp_path: Path) -> None:
    answer = emosphere("evaluate", "default", manifest, "--out", tmp_path / "x", "--dry-run")
    assert answer.code == 0
    assert "would evaluate emosphere-default-" in answer.out
    assert "nothing was written" in answer.out


def test_a_wrong_split_is_a_wrong_argument(emosphere: Call, manifest: Path, tmp_path: Path) -> None:
    answer = emosphere("evaluate", "default", manifest, "--out", tmp_path, "--split", "none", "--json")
    assert answer.code == 2
    assert "split 'none' has 0 clips" in answer.json["error"]


def test_help_shows_examples(emosphere: Call) -> None:
    answer = emosphere("evaluate", "--help")
    assert answer.code == 0
    assert "emosphere evaluate default MANIFEST.parquet" in answer.out
