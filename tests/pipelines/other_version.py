"""Files as another version of emosphere might have written them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from emosphere.store import locate
from pipelines.output.ledger import parquet_bytes, read_parquet

Change = Callable[[pa.Table], pa.Table]


def rewrite(path: Path, change: Change) -> None:
    """Replace a Parquet file by what ``change`` makes of its table; other names of the same file keep it as it was."""
    file = locate(str(path))
    file.write_bytes(parquet_bytes(change(read_parquet(file))))


def without(*names: str) -> Change:
    return lambda table: table.drop_columns(list(names))


def with_column(name: str) -> Change:
    return lambda table: table.append_column(name, pa.array(["x"] * len(table), pa.string()))


def with_type(name: str, kind: pa.DataType) -> Change:
    return lambda table: table.set_column(
        table.schema.get_field_index(name), name, table.column(name).cast(kind, safe=False)
    )
