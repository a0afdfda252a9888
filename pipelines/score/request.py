"""One ``emosphere score`` command, understood and checked."""

import datetime
import re
from dataclasses import dataclass, field
from pathlib import Path

from emosphere.errors import UsageError
from emosphere.store import Location, locate, unsigned
from pipelines.archive.dates import Window
from pipelines.archive.recording import options_for
from pipelines.score.policy import check_exception
from pipelines.score.settings import ScoreSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRequest:
    """What is to be scored, into which tables, with which model and settings."""

    archives: tuple[str, ...]
    out: str
    model: str = "default"
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    dt: str | None = None
    window: Window = field(default_factory=Window)
    roles: dict[int, str] = field(default_factory=dict)
    purpose: str | None = None
    exception: str | None = None
    """Why roles that policy forbids may be scored: one of ``pipelines.score.policy.EXCEPTIONS``; wants a purpose."""
    max_error_rate: float = 1.0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_exception(self.exception, self.purpose)

    def open_out(self) -> Location:
        """OUT. Raises UsageError unless it could be a folder one can write to."""
        if self.out.startswith(("http://", "https://")):
            raise UsageError(f"{unsigned(self.out)}: OUT cannot be written over http; use a path or s3://.")
        out = locate(self.out, **options_for(self.out, self.settings.store))
        if out.is_local and Path(out.path).exists() and not Path(out.path).is_dir():
            raise UsageError(f"{out.path}: OUT must be a folder, found a file.")
        return out

    def absolute_model(self) -> str:
        """The model as every worker understands it, whatever its working directory."""
        if self.model == "default" or self.model.startswith("hf:"):
            return self.model
        location = locate(self.model, **options_for(self.model, self.settings.store))
        return str(location.path) if location.is_local else self.model

    def absolute_archives(self) -> list[str]:
        """The archives as every machine and every later run understands them; an http URL keeps its query."""
        return [
            _absolute(archive, locate(archive, **options_for(archive, self.settings.store)))
            for archive in self.archives
        ]


def _absolute(archive: str, location: Location) -> str:
    if location.is_local:
        # The path itself, not its URI: that spells undecodable bytes in a way that opens nothing.
        return f"file://{location.path}"
    return archive if "http" in location.fs.protocol else location.uri


def parse_dt(dt: str | None) -> str | None:
    """``--dt`` as it was given. Raises UsageError unless it is a date."""
    if dt is None:
        return None
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", dt):
            raise ValueError(dt)
        datetime.date.fromisoformat(dt)
    except ValueError:
        raise UsageError(f"--dt {dt!r} is not a date such as 2026-11-20.") from None
    return dt


def parse_roles(text: str | None) -> dict[int, str]:
    """Roles by channel. Raises UsageError for what names no channel, or one twice.

    >>> parse_roles("0=customer, 1=agent")
    {0: 'customer', 1: 'agent'}
    """
    roles: dict[int, str] = {}
    for part in text.split(",") if text else []:
        channel, _, role = part.partition("=")
        if not channel.strip().isdecimal() or not role.strip() or int(channel) in roles:
            raise UsageError(
                f"--roles {text!r}: '{part}' is not CHANNEL=NAME, each channel once, as in 0=customer,1=agent."
            )
        roles[int(channel)] = role.strip()
    return roles
