"""The door: the words a user types, exit codes, the one JSON line."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from emosphere.clips.manifest import read_manifest
from jobs.prepare import PrepareOptions
from pipelines.prepare.command import PrepareRequest
from tests.corpora.msp_podcast import make_msp_podcast


@pytest.fixture(scope="module")
def podcast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_msp_podcast(tmp_path_factory.mktemp("podcast") / "corpus", 60)


def test_a_corpus_is_prepared_as_the_page_says(emosphere: Callable[..., Any], podcast: Path, tmp_path: Path) -> None:
    words = ["prepare", podcast, "--format", "msp-podcast", "--release", "1.12", "--in-house-test", "1"]
    answer = emosphere(*words, "--out", tmp_path / "m.parquet", "--json")
    assert answer.code == 0
    assert answer.json["clips"] == len(read_manifest(str(tmp_path / "m.parquet")))
    assert len(answer.out.splitlines()) == 1
    summary = emosphere(*words, "--out", tmp_path / "m.parquet", "--dry-run").out
    assert summary.startswith("would prepare  clips=")
    assert "msp-podcast-1.12 in-house-test: clips=" in summary
    assert "dropped: category=" in summary
    assert summary.endswith("nothing was written\n")


def test_a_refused_corpus_is_exit_code_2_and_one_message(
    emosphere: Callable[..., Any], podcast: Path, tmp_path: Path
) -> None:
    answer = emosphere("prepare", podcast, "--format", "msp-podcast", "--out", tmp_path / "m.parquet", "--json")
    assert answer.code == 2
    assert answer.json["error"].startswith("Which release is it?")
    assert "Traceback" not in answer.err
    assert list(tmp_path.iterdir()) == []


def test_every_option_is_a_word_of_the_request() -> None:
    """The door hands them over by name."""
    words = [field.name for field in fields(PrepareOptions) if field.name != "json"]
    assert words == [field.name for field in fields(PrepareRequest)]
    assert {field.name: field.default for field in fields(PrepareOptions) if field.name != "json"} == {
        field.name: field.default for field in fields(PrepareRequest)
    }
