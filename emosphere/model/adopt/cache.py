"""From a folder in somebody's published layout to one in ours: converted once, then found again by content."""

import dataclasses
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from emosphere.errors import MachineError
from emosphere.model.adopt import audeering, challenge, odyssey
from emosphere.model.adopt.layout import Layout
from emosphere.model.architecture import (
    HeadConfig,
    MeanPoolingConfig,
    NetworkConfig,
    PretrainedConfig,
    StatisticsPoolingConfig,
)
from emosphere.model.checkpoint import save_checkpoint
from emosphere.model.description import CheckpointConfig
from emosphere.tasks.vad import VadTask

LAYOUTS: Final[tuple[Layout, ...]] = (odyssey, audeering, challenge)
SOURCE_FILES: Final = tuple(sorted({name for layout in LAYOUTS for name in layout.SOURCE_FILES}))
"""Every file that some layout may need."""
VERSION: Final = "1"
"""Of the conversion; another one converts anew."""
CONFIGS: Final = (
    CheckpointConfig,
    NetworkConfig,
    PretrainedConfig,
    StatisticsPoolingConfig,
    MeanPoolingConfig,
    HeadConfig,
    VadTask,
)
SETTINGS: Final = tuple(field.name for config in CONFIGS for field in dataclasses.fields(config))
"""What config.json says. It is part of a model's digest, so a conversion by an older version must not be found."""

_log = logging.getLogger(__name__)


def adopt(folder: Path) -> Path:
    """``folder`` itself, or what it was converted to where it holds a published layout.

    Raises BadCheckpoint when it is of a layout but not whole, MachineError when the cache cannot be written.
    """
    for layout in LAYOUTS:
        if layout.recognise(folder):
            return _converted(folder, layout)
    return folder


def cache_folder() -> Path:
    """Where conversions are kept: ``adopted`` below EMOSPHERE_CACHE, by default ``~/.cache/emosphere``."""
    return Path(os.environ.get("EMOSPHERE_CACHE") or Path.home() / ".cache" / "emosphere") / "adopted"


def _converted(folder: Path, layout: Layout) -> Path:
    kept = cache_folder() / f"{layout.NAME}-{_digest(folder, layout)}"
    if kept.is_dir():
        return kept
    _log.info("converting %s into %s, once", folder, kept)
    network, config, card = layout.convert(folder)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".", dir=kept.parent))
        try:
            save_checkpoint(network, staged, config, card=card)
            staged.chmod(0o755)
            # Only whole folders ever bear the final name. Whoever comes second finds it taken, by the same content.
            staged.rename(kept)
        except OSError:
            if not kept.is_dir():
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise MachineError(
            f"Could not keep the converted model in {kept.parent} ({error}); make room there, or set EMOSPHERE_CACHE "
            "to another folder."
        ) from error
    return kept


def _digest(folder: Path, layout: Layout) -> str:
    digest = hashlib.sha256(" ".join((VERSION, *SETTINGS)).encode())
    for name in layout.SOURCE_FILES:
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
