"""Writes into docs/README.md the way of the data, and the rooms: what each is for, and what it stands on."""

import ast
import tomllib
from pathlib import Path

from docs.docstrings import ROOT, in_one_line
from docs.write_pictures import STEPS

PAGE = ROOT / "docs" / "README.md"
CONTAINERS = ("pipelines", "emosphere")


def rooms_in(container: str) -> dict[str, list[Path]]:
    """Name of each folder and module of a container -> its files, what it says of itself in the first."""
    return {
        place.stem: sorted(place.rglob("*.py")) if place.is_dir() else [place]
        for place in sorted((ROOT / container).iterdir())
        if (place / "__init__.py").is_file() or (place.suffix == ".py" and place.stem != "__init__")
    }


def stands_on(container: str, room: str) -> list[str]:
    """Other rooms of the container that its files import from."""
    names = set()
    for path in rooms_in(container)[room]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    imported = {name.split(".")[1] for name in names if name.startswith(f"{container}.")}
    return sorted(imported & rooms_in(container).keys() - {room})


def floors(container: str) -> list[str]:
    """Rooms from the top floor down, as the import contract names them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    return next(contract["layers"] for contract in contracts if contract.get("containers") == [container])


def way() -> str:
    """The picture of the way as a table, for who reads in a terminal."""
    lines = ["| part | step | file | what comes out |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {part} | {step} | `{file}` | {gives} |" for part, step, file, gives in STEPS)])


def tables() -> dict[str, str]:
    """Container -> its rooms as a table, from the top floor down."""
    written = {}
    for container in CONTAINERS:
        lines = ["| floor | room | what it is for | stands on |", "| --- | --- | --- | --- |"]
        layers = floors(container)
        for number, floor in enumerate(layers):
            for room in sorted(floor.split(" | ")):
                docstring = ast.get_docstring(ast.parse(rooms_in(container)[room][0].read_text(encoding="utf-8"))) or ""
                purpose = in_one_line(docstring.partition("\n\n")[0])
                below = ", ".join(f"`{name}`" for name in stands_on(container, room))
                lines.append(f"| {len(layers) - number} | `{room}` | {purpose} | {below} |")
        written[container] = "\n".join(lines)
    return written


def as_page(text: str) -> str:
    """The page with its tables of rooms written anew."""
    for container, table in {"way": way(), **tables()}.items():
        begin, end = f"<!-- {container}:begin -->", f"<!-- {container}:end -->"
        above, below = text.split(begin)[0], text.split(end)[1]
        text = f"{above}{begin}\n{table}\n{end}{below}"
    return text


if __name__ == "__main__":
    PAGE.write_text(as_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
