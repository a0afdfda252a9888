"""The command as a user types it, in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def emosphere(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    from jobs.__main__ import app

    def call(*words: object) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            app([str(word) for word in words])
        return Answer(int(exit.value.code or 0), *capfd.readouterr())

    return call


@pytest.fixture
def rows_of() -> Callable[..., list[dict[str, Any]]]:
    """Published rows of a table."""

    def read(out: Path, table: str) -> list[dict[str, Any]]:
        return [
            row for path in sorted((out / table).rglob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()
        ]

    return read
