"""Writes docs/api.md: signatures and docstrings of the public names of the library."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from types import ModuleType

from docs.docstrings import as_markdown, attribute_docstrings, in_one_line, wrapped

MODULES = (
    "emosphere.inference",
    "emosphere.settings",
    "emosphere.geometry.sphere",
    "emosphere.geometry.regions",
    "emosphere.geometry.scale",
    "emosphere.region_names",
    "emosphere.vad",
    "emosphere.metrics",
    "emosphere.losses.ccc",
    "emosphere.losses.classification",
    "emosphere.tasks",
    "emosphere.tasks.task",
    "emosphere.model.find",
    "emosphere.model.checkpoint",
    "emosphere.model.description",
    "emosphere.model.predict",
    "emosphere.errors",
)
"""In the order of the page. What they define without an underscore is public."""

OPENING = """\
# The library in Python

Written by `make docs` from signatures and docstrings; a test compares.
Everything here runs without Ray, network or GPU. `emosphere.load` is the way in,
and `emosphere.geometry` names what its three modules define:

```python
import emosphere

scorer = emosphere.load("default")
table = scorer.score(waveform, sample_rate_hz=16_000)  # (samples,) or (channels, samples) -> pandas.DataFrame
radius, azimuth_rad, polar_rad = emosphere.geometry.to_spherical(vad)  # (..., 3): valence, arousal, dominance
```

Shapes stand in the annotations: `Float[Tensor, "*batch 3"]` is any number of axes, then one of size 3.
VAD is always valence, arousal, dominance, on the centred scale; words as in the [glossary](glossary.md)."""


def as_page() -> str:
    """The page docs/api.md."""
    lines = [OPENING]
    for name in MODULES:
        lines += _module(importlib.import_module(name))
    return "\n".join(lines) + "\n"


def _module(module: ModuleType) -> Iterator[str]:
    source = inspect.getsource(module)
    tree = ast.parse(source)
    yield from ("", f"## `{module.__name__}`")
    yield from _prose(tree)
    constants = {name: text for name, text in attribute_docstrings(tree.body).items() if _is_public(name)}
    if constants:
        yield from ("", "| constant | meaning |", "| --- | --- |")
        yield from (f"| `{name}` | {in_one_line(text)} |" for name, text in constants.items())
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and _is_public(node.name):
            yield from ("", f"### `{node.name}`")
            yield from _head(node, source)
            if isinstance(node, ast.ClassDef):
                yield from _members(node, source)


def _members(node: ast.ClassDef, source: str) -> Iterator[str]:
    attributes = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    meanings = attribute_docstrings(node.body)
    if attributes:
        yield from ("", "| attribute | type | default | meaning |", "| --- | --- | --- | --- |")
    for part in attributes:
        name = ast.unparse(part.target)
        kind, default = (_written(source, of) for of in (part.annotation, part.value))
        yield f"| `{name}` | {kind} | {default} | {in_one_line(meanings.get(name, ''))} |"
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and (
            _is_public(method.name) or (method.name == "__init__" and ast.get_docstring(method))
        ):
            yield from _head(method, source)


def _head(node: ast.FunctionDef | ast.ClassDef, source: str) -> Iterator[str]:
    """Signature as it is written, decorators included, and docstring."""
    first = min(line.lineno for line in (node, *node.decorator_list))
    lines = source.splitlines()[first - 1 : max(node.lineno, node.body[0].lineno - 1)]
    yield from _code(textwrap.dedent("\n".join(lines)).removesuffix(" ...").removesuffix(":"))
    yield from _prose(node)


def _written(source: str, node: ast.expr | None) -> str:
    """A type or a default as code, for a value in a table."""
    return "" if node is None else f"`{in_one_line(ast.get_source_segment(source, node) or '')}`"


def _prose(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """The docstring: paragraphs at the width of the pages, examples as code."""
    for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
        if paragraph.startswith(">>>"):
            yield from _code(paragraph)
        elif paragraph:
            yield from ("", wrapped(as_markdown(paragraph)))


def _code(text: str) -> Iterator[str]:
    yield from ("", "```python", text, "```")


def _is_public(name: str) -> bool:
    return not name.startswith("_")


if __name__ == "__main__":
    print(as_page(), end="")
