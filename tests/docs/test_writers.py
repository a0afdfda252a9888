"""The scripts that write pages and pictures: docstrings under fields, settings, rooms, drawings."""

import ast
import xml.etree.ElementTree as ElementTree

import pytest

from docs import write_pictures, write_rooms, write_settings
from docs.docstrings import WIDTH, as_markdown, attribute_docstrings, in_one_line, wrapped
from emosphere.geometry import REGION_NAMES


def test_a_docstring_belongs_to_the_field_right_above_it() -> None:
    body = ast.parse('a: int = 1\n"""Of a,\n    in two lines."""\nb = 2\nc: int\n"""Of c."""\n').body
    assert attribute_docstrings(body) == {"a": "Of a,\nin two lines.", "c": "Of c."}


def test_quotes_and_references_become_code() -> None:
    assert as_markdown("``x = 1`` as :class:`Encoder` says") == "`x = 1` as `Encoder` says"


def test_a_cell_of_a_table_is_one_line_without_bars() -> None:
    assert in_one_line("float | None\n    or more") == r"float \| None or more"


def test_a_paragraph_has_the_width_of_the_pages() -> None:
    assert max(map(len, wrapped("word " * 100).splitlines())) <= WIDTH


@pytest.mark.parametrize(
    "line",
    [
        "### `[listen.segment]`",
        '### `[network.streams.NAME]`, `kind` = "wavlm", "wav2vec2", "hubert"',
        '### `[network.fusion]`, `kind` = "concat"',
        '### `[fit.terms.NAME]`, `kind` = "cross-entropy"',
        '### `[fit.balance]`, `kind` = "uncertainty"',
        '### `[labels.NAME]`, `kind` = "category"',
        "### `[network.heads.NAME]`",
        "### `[[rows]]`",
        "| `gain_db` | list of 2 numbers | *absent* |",
        "| `manifest` | text |  |",
    ],
)
def test_the_settings_page_knows_every_kind_of_key(line: str) -> None:
    assert line in write_settings.as_page()


def test_a_kind_has_what_it_inherits_and_no_constants() -> None:
    below = write_settings.as_page().split('### `[fit.terms.NAME]`, `kind` = "concordance"')[1].split("\n### ")[0]
    keys = [line.split("`")[1] for line in below.splitlines() if line.startswith("| `")]
    assert keys == ["head", "weight", "schedule", "span", "span_epochs", "afterwards", "scope", "reduction"]


def test_a_room_stands_on_what_its_files_import() -> None:
    assert write_rooms.stands_on("pipelines", "sql") == ["output"]
    assert write_rooms.stands_on("emosphere", "errors") == []


def test_every_room_has_a_floor_and_a_purpose() -> None:
    for container, table in write_rooms.tables().items():
        rows = [line.split(" | ") for line in table.splitlines()[2:]]
        assert {row[1].strip("`") for row in rows} == set(write_rooms.rooms_in(container))
        assert all(row[2] for row in rows)


def test_pictures_are_well_formed_and_name_every_region() -> None:
    drawn = write_pictures.drawn(write_pictures.kept_rows())
    texts = {name: [text.text for text in ElementTree.fromstring(content).iter()] for name, content in drawn.items()}
    assert set(REGION_NAMES[8]) <= set(texts["sphere.svg"])
    assert {"valence", "arousal", "dominance"} <= set(texts["timeline.svg"])


def test_a_picture_is_readable_on_dark_ground_too() -> None:
    assert all(
        "prefers-color-scheme:dark" in content for content in write_pictures.drawn(write_pictures.kept_rows()).values()
    )
