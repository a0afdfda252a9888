"""What the source says of itself: the docstrings under fields and constants, which Python drops, and their Markdown."""

import ast
import inspect
import itertools
import re
import textwrap
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent

WIDTH = 120
"""Columns of prose in every page."""


@cache
def tree_of(module: ModuleType) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(inspect.getsource(module))


def path_of(module: ModuleType) -> str:
    """The module's file, from the root of the project."""
    return Path(inspect.getfile(module)).resolve().relative_to(ROOT).as_posix()


def class_in(tree: ast.Module, name: str) -> ast.ClassDef:
    """The class of that name."""
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def attribute_docstrings(body: list[ast.stmt]) -> dict[str, str]:
    """Name -> the string that stands right below its assignment; names without one are missing."""
    docstrings = {}
    for above, below in itertools.pairwise(body):
        if isinstance(above, ast.AnnAssign | ast.Assign) and isinstance(below, ast.Expr):
            target = above.target if isinstance(above, ast.AnnAssign) else above.targets[0]
            if isinstance(target, ast.Name) and isinstance(below.value, ast.Constant):
                docstrings[target.id] = inspect.cleandoc(str(below.value.value))
    return docstrings


def as_markdown(docstring: str) -> str:
    """A docstring in Markdown: double backquotes and references become code."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", docstring)
    return re.sub(r"``(.+?)``", r"`\1`", text)


def in_one_line(docstring: str) -> str:
    """The same for a value in a table."""
    return " ".join(as_markdown(docstring).split()).replace("|", r"\|")


def wrapped(text: str) -> str:
    """A paragraph in lines of at most WIDTH columns."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)
