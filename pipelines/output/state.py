"""Where the work in an OUT stands: one small object that only the holder of the lease replaces, whole, and by
compare-and-swap; it is never deleted. Whoever slept over a change of holders finds it changed.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from emosphere.errors import UsageError
from emosphere.store import ABSENT, Location

FILE = "state.json"
EARLIER = ("publishing.json", "erasing.json", "unfinished")
"""What stood in its stead before 2026-11-28."""


class Begun(NamedTuple):
    """A run that a command began and did not end."""

    run_id: str
    dt: str
    started_at: str
    """ISO time, UTC."""
    header: int | None = None
    """Number of the holder that completed its plan; None while there is none."""
    is_refused: bool = False
    """Whether it was scored and not published, for its failures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What one holder leaves to the next."""

    number: int = 0
    """Of the holder that wrote it."""
    change: int = 0
    """Goes up with every change, so that no two are the same bytes."""
    unfinished: dict[str, Begun] = field(default_factory=dict)
    """By the key of the command."""
    publishing: str | None = None
    """Id of the run whose rows are being put into the tables: whoever comes next, with whatever command, ends that."""
    files: tuple[str, ...] = ()
    """Published files, below OUT, that it may have written."""
    erasing: str | None = None
    """Path, below OUT/_emosphere, of the file with the ids that are being erased: whoever comes next ends that too."""
    erased: int = 0
    """Number of the last holder that erased: no staged part of an older one counts, but those which that one saw."""
    sleepers: tuple[str, ...] = ()
    """Holders that were overtaken and of which nobody knows whether they, or what they sent, still live; until an
    erasure has named them."""

    def with_run(self, key: str, begun: Begun | None) -> "State":
        """The same, with another run of a command, or without one."""
        unfinished = {other: run for other, run in self.unfinished.items() if other != key}
        return replace(self, unfinished=unfinished | ({} if begun is None else {key: begun}))

    @property
    def run_ids(self) -> set[str]:
        """Runs whose plan and staging are still wanted."""
        return {begun.run_id for begun in self.unfinished.values()}


def read_state(home: Location) -> State:
    """The state below ``home`` (OUT/_emosphere). Raises UsageError where another version of emosphere left its own."""
    file = home.child(FILE)
    try:
        stored: dict[str, Any] = json.loads(file.read_bytes())
    except ABSENT:
        _refuse_earlier(home)
        return State()
    try:
        unfinished = {key: Begun(**begun) for key, begun in stored.pop("unfinished").items()}
        lists = {name: tuple(stored[name]) for name in ("files", "sleepers")}
        return State(**stored | lists, unfinished=unfinished)
    except (TypeError, KeyError) as error:
        raise UsageError(f"{file.uri}: another version of emosphere wrote it ({error}). Use that version.") from error


def state_bytes(state: State) -> bytes:
    """As it is stored."""
    stored = asdict(state) | {"unfinished": {key: begun._asdict() for key, begun in state.unfinished.items()}}
    return (json.dumps(stored, indent=1, sort_keys=True) + "\n").encode()


def _refuse_earlier(home: Location) -> None:
    """Raise UsageError where the version before this layout left a run or an erasure in the middle."""
    below = {path.removeprefix(home.path + "/").partition("/")[0] for path in home.files()}
    left = sorted(below.intersection(EARLIER))
    if left:
        raise UsageError(
            f"{home.uri}: an earlier version of emosphere left work unfinished here ({', '.join(left)}). End it with "
            f"that version, by the same command as then{_or_remove(home, left)}; then this version goes on."
        )


def _or_remove(home: Location, left: list[str]) -> str:
    """What else helps where nothing was in the middle of the tables."""
    if left != ["unfinished"]:
        return ", or score into a new OUT"
    return f", or remove {home.child('unfinished').uri} and score anew what that run scored"
