"""What a store raises, in words; and how often, and how patiently, a write that others undo is begun anew."""

import contextlib
import logging
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from emosphere.errors import MachineError

ABSENT: Final = (FileNotFoundError, NotADirectoryError)
"""What a filesystem raises when something is not there."""

LIBRARIES: Final = frozenset({"s3fs", "botocore", "aiobotocore", "aiohttp"})
"""Packages that speak to stores, and raise outside OSError too."""

TRIES: Final = 10
"""How often a write is begun that finds its object changed by others each time."""
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0

_jitter = random.Random()  # of its own: two processes with one seed would meet again after each pause
log = logging.getLogger("emosphere")


def tries(action: str) -> Iterator[int]:
    """Number of each try at ``action``, from 0, with a pause before every one but the first, said in the log.

    Raises MachineError after the last of TRIES. Who succeeds leaves the loop.
    """
    for number in range(TRIES):
        if number:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number) * _jitter.uniform(0.5, 1.5)
            log.warning("%s: changed by another meanwhile; try %d of %d in %.1f s", action, number + 1, TRIES, pause_s)
            time.sleep(pause_s)
        yield number
    raise MachineError(
        f"Could not {action}: at each of {TRIES} tries it was another version by then. Something else keeps writing "
        "there. End it, then run the same command again."
    )


@contextlib.contextmanager
def explained(action: str, *, absence: bool = True) -> Iterator[None]:
    """Turn what a store raises into a MachineError that says what was being done.

    With ``absence=False`` it is the caller's to deal with something that is not there.
    """
    try:
        yield
    except ABSENT as error:
        if not absence:
            raise
        raise MachineError(f"Could not {action}: {_reason(error)}") from error
    except PermissionError as error:
        raise MachineError(
            f"Access refused: could not {action}. Check credentials and permissions.{_unlisted(error)}"
        ) from error
    except OSError as error:
        raise MachineError(f"Could not {action}: {_reason(error)}") from error
    except Exception as error:
        if is_library_failure(error):
            raise MachineError(f"Could not {action}: {_reason(error)}") from error
        raise


def answer_of(error: BaseException) -> dict[str, Any]:
    """What S3 answered, as botocore parsed it; empty where the failure is none of its answers."""
    answer: dict[str, Any] = getattr(error.__cause__, "response", None) or {}
    return answer


def status_of(error: BaseException) -> int | None:
    """HTTP status of S3's answer."""
    status: int | None = answer_of(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def is_library_failure(error: BaseException) -> bool:
    """Whether a store's library raised it: an error of its own kind, or one that it made while it read an answer.

    botocore raises outside OSError when no credentials are found; s3fs looks for a word in the message of an answer
    that has none, which is a TypeError, and for fields that an answer may lack. What our own mistakes raise is neither.
    """
    if _is_of_a_library(error):
        return True
    before = error.__context__
    was_reading = isinstance(error, LookupError) or isinstance(before, OSError) or _is_of_a_library(before)
    return was_reading and _raised_in(error) in LIBRARIES


def _is_of_a_library(error: BaseException | None) -> bool:
    return type(error).__module__.partition(".")[0] in LIBRARIES


def _raised_in(error: BaseException) -> str:
    """Package of the code that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module: str = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return module.partition(".")[0]


def _reason(error: BaseException) -> str:
    """Its text; of an answer without one, the code and the status."""
    told = error
    if not isinstance(error, OSError) and isinstance(error.__context__, OSError):
        told = error.__context__  # what the library was reading when it stumbled
    answer = answer_of(told)
    if answer and not answer.get("Error", {}).get("Message"):
        code = answer.get("Error", {}).get("Code") or "an error without a code"
        return f"the store answered {code} (status {status_of(told)}) and no word more"
    return str(told)


def _unlisted(error: BaseException) -> str:
    """What else a 403 may mean for one object: that it is not there, for somebody who may not list."""
    if status_of(error) != 403 or getattr(error.__cause__, "operation_name", None) not in ("HeadObject", "GetObject"):
        return ""
    return (
        " If it may not be there at all: a store says 404 only to who may list, and where a policy grants "
        "s3:ListBucket under a condition on s3:prefix, this request has no prefix and is refused. Let the condition be "
        "StringLikeIfExists, as in docs/storage.md."
    )
