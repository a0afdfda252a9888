"""TOML files into frozen dataclasses; a misspelt key is refused with the nearest right one."""

import dataclasses
import difflib
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from emosphere.errors import UsageError

Config = TypeVar("Config")


def load_config(config_class: type[Config], path: str | Path | None, *, over: str | Path | None = None) -> Config:
    """Read ``path`` into ``config_class``; None gives the defaults. Raises UsageError naming file, table and key.

    ``over`` takes the place of the file that ``path`` builds on in the end.
    """
    if path is None:
        return config_class()
    return from_mapping(config_class, load_tables(path, over=over), source=str(path))


def load_tables(path: str | Path, *, over: str | Path | None = None, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Plain values of a TOML file, laid over those of the file that its key ``base`` names, if any.

    ``base`` counts from the file's own folder. Tables are merged key by key; a table of another ``kind`` replaces the
    whole table, since its keys mean something else. ``over`` takes the place of the lowest file, the one without a
    base; ``above`` are the files that build on this one.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a settings file ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML ({error})") from error
    named = tables.pop("base", None)
    if named is None:
        return tables if over is None else load_tables(over)
    base, above = Path(path).parent / named, (*above, Path(path).resolve())
    if base.resolve() in above:
        raise UsageError(f"{path}: its base {base} builds on it in turn.")
    return _merged(load_tables(base, over=over, above=above), tables)


def from_mapping(config_class: type[Config], values: Mapping[str, Any], *, source: str) -> Config:
    """Build ``config_class`` (nested dataclasses allowed) from plain values; ``source`` heads every message.

    A class with ``KINDS``, a mapping from kind to class, stands for whichever of these a table's ``kind`` names. One
    with ``REPLACED`` names settings of earlier versions, and a function from such a setting's value to what stands for
    it today: all of them are told in one message.
    """
    if earlier := list(_earlier(config_class, values, where=source)):
        raise UsageError("\n".join(earlier))
    return _built(config_class, values, source=source)


def _earlier(hint: Any, value: Any, *, where: str) -> Iterator[str]:
    """A message for every setting of an earlier version in ``value``, which is meant for a setting of type ``hint``."""
    if not isinstance(value, Mapping):
        return
    if typing.get_origin(hint) is dict:
        for key, inner in value.items():
            yield from _earlier(typing.get_args(hint)[1], inner, where=f"{where}.{key}")
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    for option in typing.get_args(hint) if is_union else (hint,):
        option = (kinds_of(option) or {}).get(str(value.get("kind")), option)
        if not (isinstance(option, type) and dataclasses.is_dataclass(option)):
            continue
        hints = typing.get_type_hints(option)
        for key, inner in value.items():
            replaced = getattr(option, "REPLACED", {}).get(key)
            if replaced is not None:
                yield f"{where}: '{key}' is a setting of an earlier version. {replaced(inner)}"
            elif key in hints:
                yield from _earlier(hints[key], inner, where=f"{where}: {key}")


def _built(config_class: type[Config], values: Mapping[str, Any], *, source: str) -> Config:
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, config_class))}
    hints = typing.get_type_hints(config_class)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else f" It knows: {', '.join(fields)}."
            raise UsageError(f"{source}: '{key}' is not a setting of {config_class.__name__}.{hint}")
        arguments[key] = _convert(hints[key], value, where=f"{source}: {key}")
    missing = [
        name
        for name, field in fields.items()
        if name not in arguments
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{source}: {config_class.__name__} also needs {', '.join(missing)}.")
    try:
        return config_class(**arguments)
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from error


def digest(config: object) -> str:
    """First 16 hex digits of the sha256 over the settings, independent of field order in the file."""
    canonical = json.dumps(to_mapping(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def to_mapping(config: object) -> dict[str, Any]:
    """Plain JSON-ready values of a config dataclass."""
    mapping: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(typing.cast(Any, config))))
    return mapping


def kinds_of(hint: Any) -> Mapping[str, type] | None:
    """Kind -> class, where ``hint`` is a class that stands for several; None for any other."""
    kinds: Mapping[str, type] | None = vars(hint).get("KINDS") if isinstance(hint, type) else None
    return kinds


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and value.get("kind") in (None, old.get("kind")):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def _kinds(option: Any) -> tuple[Any, ...]:
    if not dataclasses.is_dataclass(option):
        return ()
    return typing.get_args(typing.get_type_hints(option).get("kind"))


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    if (kinds := kinds_of(hint)) is not None:
        named = value.get("kind") if isinstance(value, Mapping) else None
        if not isinstance(named, str) or named not in kinds:
            found = (
                repr(value) if not isinstance(value, Mapping) else "no kind" if named is None else f"kind = {named!r}"
            )
            raise UsageError(
                f"{where}: expected a table with kind = one of {', '.join(map(repr, kinds))}; found {found}."
            )
        return _built(kinds[named], value, source=where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: expected a table, found {value!r}.")
        return _built(hint, value, source=where)
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        failures = []
        # Alternatives that name themselves by `kind`: the one that is meant gets to say what is wrong.
        named = value.get("kind") if isinstance(value, Mapping) else None
        meant = [option for option in options if named in _kinds(option)]
        offered = [kind for option in options for kind in _kinds(option)]
        if named is not None and offered and not meant:
            raise UsageError(f"{where}: kind: {named!r} is not one of {', '.join(map(repr, offered))}.")
        for option in meant or options:
            try:
                return _convert(option, value, where=where)
            except UsageError as error:
                failures.append(error)
        raise failures[0]
    if origin is typing.Literal:
        if value not in options:
            raise UsageError(f"{where}: {value!r} is not one of {', '.join(map(repr, options))}.")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(options[0], item, where=where) for item in value)
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(options[1], item, where=f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (isinstance(hint, type) and type(value) is hint):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise UsageError(f"{where}: expected {wanted}, found {value!r}.")
