"""What is asked of one ``emosphere prepare``, and which of its options fit together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from emosphere.errors import UsageError

OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "msp-podcast": ("release", "drop", "in_house_test", "seed", "audio"),
    "iemocap": ("test_session", "dev_session"),
    "audformat": ("scale", "columns", "tables", "split"),
    "csv": ("scale", "words", "columns", "corpus", "split", "audio"),
    "parquet": ("scale", "columns", "corpus", "split", "audio"),
}
"""Formats, and the options that mean something to each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareRequest:
    """One ``emosphere prepare`` command. None: not given."""

    source: str
    format: str
    out: str
    release: str | None = None
    drop: str | None = None
    in_house_test: int | None = None
    seed: int | None = None
    test_session: int | None = None
    dev_session: int | None = None
    scale: str | None = None
    words: bool | None = None
    columns: str | None = None
    tables: str | None = None
    corpus: str | None = None
    split: str | None = None
    audio: str | None = None
    shards: str | None = None
    drop_missing: bool = False
    drop_bad_labels: bool = False
    allow_shared_speakers: bool = False
    dry_run: bool = False

    def check(self) -> None:
        """Raise UsageError for an unknown format, for options that mean nothing to it, and for a bad place to write."""
        if self.format not in OPTIONS:
            raise UsageError(f"--format {self.format!r} is not one of {', '.join(OPTIONS)}.")
        all_options = dict.fromkeys(name for names in OPTIONS.values() for name in names)
        given = [name for name in all_options if getattr(self, name) is not None]
        strange = [f"--{name.replace('_', '-')}" for name in given if name not in OPTIONS[self.format]]
        if strange:
            raise UsageError(f"{', '.join(strange)}: means nothing to --format {self.format}.")
        for name, value in (("--out", self.out), ("--shards", self.shards or "")):
            if value.startswith(("http://", "https://")):
                raise UsageError(f"{name} cannot be written over http; use a path or s3://.")
        if not self.out.endswith(".parquet"):
            raise UsageError(f"--out {self.out}: a manifest is a file that ends in .parquet.")
