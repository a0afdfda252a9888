"""Writes docs/settings.md: every key of a settings file, read from the dataclasses that a file is read into."""

import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from docs.docstrings import as_markdown, attribute_docstrings, class_in, in_one_line, path_of, tree_of, wrapped
from emosphere.config import kinds_of
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


def _section(
    settings: type, path: tuple[str, ...], *, kinds: Sequence[str] = (), is_list: bool = False, choice: str = ""
) -> Iterator[str]:
    """Heading, caption and keys of one table, then its tables; ``choice`` says what there is to choose from."""
    hints = typing.get_type_hints(settings)
    module = sys.modules[settings.__module__]
    meanings = _meanings(settings)
    if path:
        name = ".".join(path)
        named = ", ".join(json.dumps(kind) for kind in kinds)
        yield from ("", f"### `{f'[[{name}]]' if is_list else f'[{name}]'}`" + (f", `kind` = {named}" if named else ""))
    caption = " ".join(as_markdown(text) for text in (choice, inspect.getdoc(settings)) if text)
    yield from ("", wrapped(f"{caption} (`{settings.__name__}` in `{path_of(module)}`)"))
    fields = [field for field in dataclasses.fields(settings) if field.name != "kind"]
    keys = [field for field in fields if not list(_tables(hints[field.name]))]
    if keys:
        yield from ("", "| key | type | default | meaning |", "| --- | --- | --- | --- |")
    for field in keys:
        meaning = in_one_line(meanings[field.name])
        yield f"| `{field.name}` | {_type(hints[field.name])} | {_default(field)} | {meaning} |"
    for field in fields:
        for number, table in enumerate(_tables(hints[field.name])):
            # Said once, above the first kind; a table without kinds says by itself what it is.
            choice = meanings.get(field.name, "") if table.kinds and not number else ""
            place = (*path, field.name, *table.suffix)
            yield from _section(table.settings, place, kinds=table.kinds, is_list=table.is_list, choice=choice)


def _meanings(settings: type) -> dict[str, str]:
    """Docstrings of a dataclass's fields, those that it inherits included."""
    meanings: dict[str, str] = {}
    for part in reversed([part for part in settings.__mro__ if dataclasses.is_dataclass(part)]):
        meanings |= attribute_docstrings(class_in(tree_of(sys.modules[part.__module__]), part.__name__).body)
    return meanings


class _Table(NamedTuple):
    """A dataclass that a key may hold."""

    settings: type
    kinds: tuple[str, ...]
    """By which a file chooses it; none where there is no choice."""
    suffix: tuple[str, ...] = ()
    """What follows the key in the heading."""
    is_list: bool = False


def _tables(hint: Any) -> Iterator[_Table]:
    options = typing.get_args(hint)
    if (registered := kinds_of(hint)) is not None:
        for settings in dict.fromkeys(registered.values()):
            yield _Table(settings, tuple(kind for kind, found in registered.items() if found is settings))
    elif dataclasses.is_dataclass(hint):
        settings = typing.cast(type, hint)
        yield _Table(settings, typing.get_args(typing.get_type_hints(settings).get("kind")))
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        for option in options:
            yield from _tables(option)
    elif typing.get_origin(hint) is dict:
        yield from (table._replace(suffix=("NAME",)) for table in _tables(options[1]))
    elif typing.get_origin(hint) is tuple:
        yield from (table._replace(is_list=True) for table in _tables(options[0]))


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
