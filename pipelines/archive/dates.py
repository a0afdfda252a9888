"""Which recordings belong to a night: by the time of the object, or by a date in its path."""

import datetime
import re
from dataclasses import dataclass

from emosphere.errors import UsageError
from pipelines.archive.recording import Recording

_FIELDS = {"%Y": r"(?P<Y>\d{4})", "%m": r"(?P<m>\d{2})", "%d": r"(?P<d>\d{2})", "%H": r"(?P<H>\d{2})"}


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open span of time [since, until), microseconds since 1970 (UTC); None leaves a side open."""

    since_us: int | None = None
    until_us: int | None = None
    path_date: str | None = None
    """Template such as ``calls/%Y/%m/%d``: take the time from the path instead of the object."""

    def holds(self, recording: Recording) -> bool:
        """Whether the recording is selected. One without a time is outside every window."""
        if self.since_us is None and self.until_us is None:
            return True
        when = recording.modified_us if self.path_date is None else path_time(recording.source_uri, self.path_date)
        if when is None:
            return False
        return (self.since_us is None or when >= self.since_us) and (self.until_us is None or when < self.until_us)


def path_time(uri: str, template: str) -> int | None:
    """Time that ``template`` (%Y %m %d, %H optional) reads out of a URI, or None where it does not fit."""
    match = re.search(_pattern(template), uri)
    if match is None:
        return None
    parts = {name: int(value) for name, value in match.groupdict().items()}
    try:
        time = datetime.datetime(parts["Y"], parts["m"], parts["d"], parts.get("H", 0), tzinfo=datetime.UTC)
    except ValueError:
        return None
    return int(time.timestamp() * 1_000_000)


def parse_window(since: str | None, until: str | None, path_date: str | None) -> Window:
    """The window that ``--since``, ``--until`` and ``--path-date`` span. Raises UsageError that names the option."""
    if path_date is not None:
        check_template(path_date)
        if since is None and until is None:
            raise UsageError("--path-date says where to read the time; give --since or --until to select by it.")
    since_us = parse_time(since, "--since") if since else None
    until_us = parse_time(until, "--until") if until else None
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise UsageError(f"--since {since} is not before --until {until}: nothing could be selected.")
    return Window(since_us=since_us, until_us=until_us, path_date=path_date)


def check_template(template: str) -> None:
    """Raise UsageError unless the template holds year, month and day once each."""
    if any(template.count(part) != 1 for part in ("%Y", "%m", "%d")) or template.count("%H") > 1:
        raise UsageError(
            f"--path-date {template!r} must hold %Y, %m and %d once each (and %H at most once), as in 'calls/%Y/%m/%d'."
        )


def parse_time(text: str, option: str) -> int:
    """Microseconds since 1970 of an ISO date or time (UTC unless it says otherwise)."""
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is not a date or time such as 2026-11-20 or 2026-11-20T06:00:00Z."
        ) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return int(time.timestamp() * 1_000_000)


def _pattern(template: str) -> str:
    return "".join(_FIELDS.get(part, re.escape(part)) for part in re.split(r"(%[YmdH])", template))
