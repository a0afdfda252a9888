"""Archives built for one test, and what is found in them."""

import io
import tarfile
from pathlib import Path

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
