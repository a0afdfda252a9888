"""Archives built for one test, and what is found in them."""

import io
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.store import locate
from pipelines.archive.listing import list_archives
from pipelines.archive.recording import Recording


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def listed(*archives: object, out: str = "/nowhere/out") -> list[Recording]:
    return list(list_archives([str(archive) for archive in archives], out=locate(out)))


def member(archive: tarfile.TarFile, name: str, data: bytes = b"data", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def change(path: Path) -> None:
    """Another version under the same name, a second later."""
    if path.suffix == ".wav":
        touch(path, path.read_bytes() + b"more")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.wav", b"other data")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"audio": [b"other", b"data"]}), path)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            member(archive, "a.wav", b"tada", mtime=2_000_000_000)
