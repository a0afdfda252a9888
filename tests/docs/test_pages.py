"""What the pages name exists: verbs, options, settings, words of make, files."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from emosphere.config import from_mapping
from jobs.__main__ import app
from pipelines.score.settings import ScoreSettings

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/evaluate.md",
    "docs/train.md",
    "docs/adopt.md",
    "docs/export.md",
    "docs/operate.md",
    "docs/glossary.md",
    "docs/privacy-and-law.md",
]
FOLDERS = ("docs", "demo", "infra", "emosphere", "pipelines", "jobs", "tests", "benchmarks")

MADE_LATER = {"benchmarks/results"}  # by `make bench`


def text_of(root: Path, page: str) -> str:
    return (root / page).read_text(encoding="utf-8")


def code(text: str) -> list[str]:
    """Spans and lines of code: `...`, fenced lines, indented lines; a line that goes on in the next is one."""
    text = re.sub(r"\\\n\s*", "", text)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4,}(\S.*)$", rest, re.MULTILINE)
    return [*re.findall(r"`([^`\n]+)`", rest), *indented, *(line for block in fenced for line in block.splitlines())]


def commands(text: str) -> list[list[str]]:
    """Words after `emosphere` of every whole command; a bare verb is a mention, not a command."""
    found = []
    for line in code(text):
        match = re.match(r"(?:\$ )?(?:\.venv/bin/)?emosphere (\w.*)$", line) or re.match(
            r".*python -m jobs\.(\w.*)$", line
        )
        if match is None:
            continue
        words = shlex.split(match.group(1), comments=True)
        if len(words) > 1 and not any(word.startswith(("[", "...")) for word in words):
            found.append(words)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_the_doors_take(root: Path, page: str) -> None:
    group = typer.main.get_command(app)
    for verb, *words in commands(text_of(root, page)):
        assert verb in group.commands, f"{page}: emosphere {verb}"
        # Only placeholders in capitals and real options: what is unknown or misspelt raises, naming itself.
        words = [word for word in words if word not in ("--help", "-h")]
        group.commands[verb].make_context(verb, words)


@pytest.mark.parametrize("page", PAGES)
def test_every_word_of_make_exists(root: Path, page: str) -> None:
    words = set(re.findall(r"^([a-z-]+):", text_of(root, "Makefile"), re.MULTILINE))
    named = {match for span in code(text_of(root, page)) for match in re.findall(r"^make ([a-z-]+)", span)}
    assert named <= words


@pytest.mark.parametrize("page", PAGES)
def test_every_file_exists(root: Path, page: str) -> None:
    named = {
        match
        for span in code(text_of(root, page))
        for match in re.findall(rf"(?<![\w/.:-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w)", span)
    }
    assert sorted(path for path in named - MADE_LATER if not (root / path).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(root: Path, page: str) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)\)", text_of(root, page))
    assert [link for link in links if not ((root / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_is_accepted(root: Path, page: str) -> None:
    for block in re.findall(r"^```toml\n(.*?)^```", text_of(root, page), re.MULTILINE | re.DOTALL):
        from_mapping(ScoreSettings, tomllib.loads(block), source=page)


def test_the_front_page_trains_as_the_page_about_training_does(root: Path) -> None:
    """In particular it prepares the splits that the paper's configuration reports on."""
    about = commands(text_of(root, "docs/train.md"))
    shown = [words for words in commands(text_of(root, "README.md")) if words[0] in ("prepare", "ablate", "train")]
    assert {words[0] for words in shown} == {"prepare", "train", "ablate"}
    assert [words for words in shown if words not in about] == []


def test_commands_are_found_at_all(root: Path) -> None:
    assert len(commands(text_of(root, "docs/operate.md"))) >= 7


def test_design_notes_keep_their_form(root: Path) -> None:
    for note in sorted((root / "docs" / "design").glob("0*.md")):
        text = note.read_text()
        assert text.startswith(f"# {note.name[:4]} ")
        for heading in ("Question", "Choice", "Why", "What it costs", "What we did not choose", "How we would notice"):
            assert f"**{heading}" in text, f"{note.name}: {heading}"


def test_the_page_of_columns_is_the_one_the_schema_writes(root: Path) -> None:
    command = [sys.executable, "-m", "emosphere.tables.schema"]
    written = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert text_of(root, "docs/tables.md") == written, "run `make docs`"
