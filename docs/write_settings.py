"""Writes docs/settings.md: every key of a settings file, read from the dataclasses that a file is read into."""

import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

from docs.docstrings import as_markdown, attribute_docstrings, class_in, in_one_line, path_of, tree_of, wrapped
from pipelines.ablate.command import Table
from pipelines.score.settings import ScoreSettings
from pipelines.train.config import TrainConfig

FILES = {
    "emosphere score ARCHIVE --out OUT --config FILE.toml": ScoreSettings,
    "emosphere train FILE.toml": TrainConfig,
    "emosphere ablate FILE.toml": Table,
}
"""What the file is given to, and the dataclass that it is read into."""

WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}

OPENING = """\
# Settings

Written by `make docs` from the dataclasses that a settings file is read into and the docstrings under their fields;
a test compares. A settings file is TOML. A key that is not here is refused, and the nearest right one is named,
before anything starts. A key without a default must be given; one whose default is *absent* may be left out,
and its last column says what that means (there it is called None).

A file may build on another: `base = "other.toml"`, from its own folder, merged key by key.
Which settings can change a row of the tables, so that finished recordings are scored again, stands in
[operate.md](operate.md#settings); what belongs together in a training in [train.md](train.md)."""


def as_page() -> str:
    """The page docs/settings.md."""
    lines = [OPENING]
    for command, settings in FILES.items():
        lines += ["", f"## `{command}`"]
        lines += _section(settings, ())
    return "\n".join(lines) + "\n"


def _section(settings: type, path: tuple[str, ...], *, is_list: bool = False) -> Iterator[str]:
    """Heading, caption and keys of one table, then its tables."""
    hints = typing.get_type_hints(settings)
    module = sys.modules[settings.__module__]
    meanings = attribute_docstrings(class_in(tree_of(module), settings.__name__).body)
    if path:
        name = ".".join(path)
        kinds = ", ".join(json.dumps(kind) for kind in typing.get_args(hints.get("kind")))
        yield from ("", f"### `{f'[[{name}]]' if is_list else f'[{name}]'}`" + (f", `kind` = {kinds}" if kinds else ""))
    caption = as_markdown(inspect.getdoc(settings) or "")
    yield from ("", wrapped(f"{caption} (`{settings.__name__}` in `{path_of(module)}`)"))
    fields = [field for field in dataclasses.fields(settings) if field.name != "kind"]
    keys = [field for field in fields if not list(_tables(hints[field.name]))]
    if keys:
        yield from ("", "| key | type | default | meaning |", "| --- | --- | --- | --- |")
    for field in keys:
        meaning = in_one_line(meanings[field.name])
        yield f"| `{field.name}` | {_type(hints[field.name])} | {_default(field)} | {meaning} |"
    for field in fields:
        for table, suffix, several in _tables(hints[field.name]):
            yield from _section(table, (*path, field.name, *suffix), is_list=several)


def _tables(hint: Any) -> Iterator[tuple[Any, tuple[str, ...], bool]]:
    """Dataclasses that a key may hold, what follows its name in the heading, and whether it holds a list of them."""
    options = typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        yield hint, (), False
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        for option in options:
            yield from _tables(option)
    elif typing.get_origin(hint) is dict and dataclasses.is_dataclass(options[1]):
        yield options[1], ("NAME",), False
    elif typing.get_origin(hint) is tuple and dataclasses.is_dataclass(options[0]):
        yield options[0], (), True


def _type(hint: Any) -> str:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(option) for option in options if option is not type(None))
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(option)}`" for option in options)
    if origin is tuple:
        count = "" if options[-1] is Ellipsis else f"{len(options)} "
        return f"list of {count}{_type(options[0])}s"
    if origin is dict:
        return "table" if options[1] is Any else f"table of {_type(options[1])}s"
    return WORDS[hint]


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return ""
    return "*absent*" if value is None else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(as_page(), end="")
