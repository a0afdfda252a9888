"""The ways to fail, by what the caller would do about them: skip the recording, mend the command, mend the machine."""

from typing import Any, Final, Literal, get_args

ErrorCode = Literal[
    "EMPTY",
    "UNSUPPORTED",
    "CORRUPT",
    "TRUNCATED",
    "NO_AUDIO",
    "TOO_SHORT",
    "TOO_LONG",
    "NON_FINITE",
    "REFUSED",
    "CRASHED",
    "NOT_FOUND",
    "ACCESS_DENIED",
    "ARCHIVED",
    "FETCH_FAILED",
    "TIMED_OUT",
    "INTERNAL",
]
"""Why a recording has no scores. The list is closed: a new reason is a new version of the tables."""

ERROR_CODES: Final[tuple[str, ...]] = get_args(ErrorCode)

RETRIED_CODES: Final = frozenset({"NOT_FOUND", "ACCESS_DENIED", "ARCHIVED", "FETCH_FAILED", "TIMED_OUT", "INTERNAL"})
"""Reasons that may pass: the next run tries these again. All others stand until the recording itself changes."""


class EmosphereError(Exception):
    """Anything this project reports on purpose; its message is one sentence a user can act on."""

    exit_code = 1
    """What a command that ends with it leaves as its exit code."""


class BadRecording(EmosphereError):
    """One recording cannot be scored: it becomes a row with ``code`` and the run goes on."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.code, str(self))


class UsageError(EmosphereError):
    """The command or its settings are wrong; nothing was started."""

    exit_code = 2


class BadCheckpoint(UsageError):
    """A folder that should hold a model does not, or holds another kind."""


class BadClip(UsageError):
    """A labelled clip cannot be learnt from or evaluated on: its audio is missing, broken or empty."""


class MachineError(EmosphereError):
    """A broken machine (disk full, credentials refused, bucket missing): the same command resumes."""


class Verdict(EmosphereError):
    """The work was done and what it found is not good; ``result`` is what ``--json`` prints beside the message."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[type, tuple[str, dict[str, Any]]]:
        return type(self), (str(self), self.result)
