"""Words of the command line into a checked request: everything that can be wrong is said before anything starts."""

import datetime
import re
from pathlib import Path

from emosphere.config import load_config
from emosphere.errors import UsageError
from pipelines.archive.dates import Window, check_template, parse_time
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import ScoreSettings


def score_request(
    archives: list[str],
    out: str,
    *,
    model: str = "default",
    config: Path | None = None,
    dt: str | None = None,
    since: str | None = None,
    until: str | None = None,
    path_date: str | None = None,
    roles: str | None = None,
    purpose: str | None = None,
    exception: str | None = None,
    max_error_rate: float = 1.0,
    limit: int | None = None,
) -> ScoreRequest:
    """A :class:`ScoreRequest`. Raises UsageError that names the option, what was found and what was wanted."""
    if path_date is not None:
        check_template(path_date)
        if since is None and until is None:
            raise UsageError("--path-date says where to read the time; give --since or --until to select by it.")
    window = Window(
        since_us=parse_time(since, "--since") if since else None,
        until_us=parse_time(until, "--until") if until else None,
        path_date=path_date,
    )
    if window.since_us is not None and window.until_us is not None and window.since_us >= window.until_us:
        raise UsageError(f"--since {since} is not before --until {until}: nothing could be selected.")
    return ScoreRequest(
        archives=tuple(archives),
        out=out,
        model=model,
        settings=load_config(ScoreSettings, config),
        dt=_date(dt),
        window=window,
        roles=_roles(roles),
        purpose=purpose,
        exception=exception,
        max_error_rate=max_error_rate,
        limit=limit,
    )


def _date(dt: str | None) -> str | None:
    if dt is None:
        return None
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", dt):
            raise ValueError(dt)
        datetime.date.fromisoformat(dt)
    except ValueError:
        raise UsageError(f"--dt {dt!r} is not a date such as 2026-11-20.") from None
    return dt


def _roles(text: str | None) -> dict[int, str]:
    roles: dict[int, str] = {}
    for part in text.split(",") if text else []:
        channel, _, role = part.partition("=")
        if not channel.strip().isdecimal() or not role.strip() or int(channel) in roles:
            raise UsageError(
                f"--roles {text!r}: '{part}' is not CHANNEL=NAME, each channel once, as in 0=customer,1=agent."
            )
        roles[int(channel)] = role.strip()
    return roles
