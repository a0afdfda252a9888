"""What the pages name exists: verbs, options, settings, words of make, files, names in the code."""

import ast
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from docs import write_api, write_pictures, write_rooms, write_settings
from emosphere.config import from_mapping
from emosphere.tables import schema
from emosphere.vad import VAD_DIMS
from jobs.__main__ import app
from pipelines.score.settings import ScoreSettings

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "demo", "infra", "emosphere", "pipelines", "jobs", "tests", "benchmarks")


@cache
def sources() -> list[str]:
    """Names of the project's files, from its root; asks no git, so that an unpacked archive of it can be tested too."""
    places = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in places if path.is_file())


PAGES = [name for name in sources() if name.endswith(".md") and not name.startswith("benchmarks/results/")]
"""Results are history: they name what was there when they were written."""
CARD = "emosphere/model/default/README.md"
"""Written by a training, in the words of its settings."""

WIDTH = 120
"""Columns of prose."""

MADE_LATER = {"benchmarks/results"}  # by `make bench`
PLACEHOLDER = re.compile(r"NAME|VERB")


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
    words = set(re.findall(r"^([a-z0-9-]+):", text_of(root, "Makefile"), re.MULTILINE))
    named = {match for span in code(text_of(root, page)) for match in re.findall(r"^make ([a-z0-9-]+)", span)}
    assert named <= words


@pytest.mark.parametrize("page", PAGES)
def test_every_file_exists(root: Path, page: str) -> None:
    named = {
        match
        for span in code(text_of(root, page))
        for match in re.findall(rf"(?<![\w/.:-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w)", span)
    }
    named = {path for path in named - MADE_LATER if not PLACEHOLDER.search(path)}
    assert sorted(path for path in named if not (root / path).exists()) == []


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


@pytest.mark.parametrize("page", PAGES)
def test_every_file_named_without_its_folder_exists(page: str) -> None:
    named = {match for span in code(text_of(ROOT, page)) for match in re.findall(r"(?<![\w/.-])\w+\.(?:py|sh)\b", span)}
    assert sorted(named - {Path(name).name for name in sources()}) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_name_in_the_code_exists(page: str) -> None:
    named = {
        match
        for span in code(text_of(ROOT, page))
        for match in re.findall(r"(?<![\w/.-])(?:emosphere|pipelines|jobs|docs)(?:\.[a-zA-Z_]\w*)+(?![\w/])", span)
    }
    assert [name for name in sorted(named) if not is_importable(name)] == []


def is_importable(name: str) -> bool:
    """Whether it is a module, or what one holds; the endings of files are neither."""
    *above, last = name.split(".")
    if last in ("md", "svg", "toml", "py"):
        return True
    try:
        importlib.import_module(name)
    except ImportError:
        try:
            return hasattr(importlib.import_module(".".join(above)), last)
        except ImportError:
            return False
    return True


@pytest.mark.parametrize("page", ["docs/README.md", "CONTRIBUTING.md"])
def test_every_identifier_of_a_recipe_stands_in_the_code(page: str) -> None:
    code_files = [name for name in sources() if name.endswith((".py", ".toml"))]
    known = set(re.findall(r"\w+", "\n".join(text_of(ROOT, name) for name in code_files)))
    spans = re.findall(r"`([A-Za-z_][\w.]*)`", text_of(ROOT, page))
    spans = [span for span in spans if not span.endswith((".py", ".md", ".toml", ".json"))]
    named = {part for span in spans for part in span.split(".") if re.search(r"_|[a-z][A-Z]|^[A-Z]", part)}
    assert sorted(name for name in named - known if not PLACEHOLDER.search(name)) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_heading_that_is_linked_exists(page: str) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", text_of(ROOT, page))
    absent = []
    for target, anchor in links:
        linked = (ROOT / page).parent / target if target else ROOT / page
        headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
        if anchor not in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}:
            absent.append(f"{target}#{anchor}")
    assert absent == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != CARD])
def test_prose_has_one_width(page: str) -> None:
    long = [
        f"{page}:{number}: {len(line)} columns"
        for number, line in prose(text_of(ROOT, page))
        if len(line) > WIDTH and len(line.split()) > 1
    ]
    assert not long, f"break these at {WIDTH} columns, at a clause where one ends:\n" + "\n".join(long)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither code nor of a table."""
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith("    ") and not line.lstrip().startswith("|"):
            yield number, line


def test_every_page_can_be_reached_from_the_first(root: Path) -> None:
    first = text_of(root, "docs/README.md")
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/") and page != "docs/README.md"}
    notes = {page for page in pages if page.startswith("design/")}
    assert sorted(page for page in pages - notes if f"({page})" not in first) == []
    assert sorted(note for note in notes if f"[{note[7:11]}](" not in first) == []


WRITTEN = {
    "docs/tables.md": schema.as_markdown,
    "docs/settings.md": write_settings.as_page,
    "docs/api.md": write_api.as_page,
}


@pytest.mark.parametrize("page", WRITTEN)
def test_what_is_written_from_the_code_is_what_the_code_says(root: Path, page: str) -> None:
    assert text_of(root, page) == WRITTEN[page](), "run `make docs`"


def test_the_rooms_are_those_of_the_code(root: Path) -> None:
    page = text_of(root, "docs/README.md")
    assert write_rooms.as_page(page) == page, "run `make docs`"


def test_pictures_are_the_drawn_ones(root: Path) -> None:
    drawn = write_pictures.drawn(write_pictures.kept_rows())
    assert drawn == {name: text_of(root, f"docs/pictures/{name}") for name in drawn}, "run `make docs`"
    assert {Path(name).name for name in sources() if name.startswith("docs/pictures/") and name.endswith(".svg")} == {
        *drawn
    }
    assert max(map(len, drawn.values())) < 20_000


def test_the_picture_of_the_way_names_files_that_exist(root: Path) -> None:
    assert [file for *_, file, _ in write_pictures.STEPS if not (root / file).is_file()] == []


def test_the_rows_drawn_are_those_of_the_bundled_model() -> None:
    """Of one recording; on another processor a frame more or less of speech may be found."""
    kept = [row for row in write_pictures.kept_rows() if row["recording"] == write_pictures.CALL]
    scored = list(write_pictures.scored_rows([write_pictures.CALL]))
    assert len(kept) == len(scored)
    for row, fresh in zip(kept, scored, strict=True):
        assert [int(row[name]) for name in ("start_ms", "end_ms")] == pytest.approx(
            [fresh["start_ms"], fresh["end_ms"]], abs=32
        )
        assert [float(row[dim]) for dim in VAD_DIMS] == pytest.approx([fresh[dim] for dim in VAD_DIMS], abs=0.05)


@pytest.mark.parametrize("page", ["docs/README.md", "CONTRIBUTING.md"])
def test_every_method_of_a_recipe_is_one_of_its_class(page: str) -> None:
    members: dict[str, set[str]] = {}
    for path in sorted(
        path for package in ("emosphere", "pipelines", "jobs") for path in (ROOT / package).rglob("*.py")
    ):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                members.setdefault(node.name, set()).update(re.findall(r"\w+", ast.unparse(node)))
    pairs = re.findall(r"`([A-Z]\w*)\.(\w+)`", text_of(ROOT, page))
    assert [f"{name}.{member}" for name, member in pairs if name in members and member not in members[name]] == []
