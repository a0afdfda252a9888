"""training.json: from which settings and manifest a folder is trained, and whether that is finished."""

import json
from pathlib import Path
from typing import Any

from emosphere.errors import UsageError

RECORD_NAME = "training.json"
"""It lies beside the checkpoint."""


def read_record(out: Path) -> dict[str, Any] | None:
    """The record in the folder ``out``; None where nothing was trained yet."""
    try:
        record: dict[str, Any] = json.loads((out / RECORD_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Put ``record`` into ``out``, whole or not at all."""
    partial = out / f"{RECORD_NAME}.partial"
    partial.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(out / RECORD_NAME)


def check_settings(record: dict[str, Any], out: Path, config_digest: str, *, resume: bool) -> None:
    """Raise UsageError unless the training of ``record`` has these settings and may be resumed."""
    if not resume:
        raise UsageError(f"{out}: holds a training already; leave out --no-resume, or move that folder away.")
    if record["config_digest"] != config_digest:
        raise UsageError(
            f"{out}: holds a model trained by other settings ({record['config_digest']}, these are {config_digest}); "
            "set another 'out', or move that folder away."
        )


def check_manifest(record: dict[str, Any], out: Path, manifest: str, manifest_sha256: str) -> None:
    """Raise UsageError unless the training of ``record`` began with this content of ``manifest``."""
    if record["manifest_sha256"] != manifest_sha256:
        raise UsageError(
            f"{out}: the training there began with another content of {manifest}; set another 'out', or "
            "move that folder away."
        )
