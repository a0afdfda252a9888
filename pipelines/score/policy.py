"""Whose voice is not scored: the roles of people at work or in education, unless an exception is declared."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Final

import numpy as np

from emosphere.errors import UsageError
from emosphere.speech.cells import Cell
from emosphere.speech.same_sound import SILENCE

AT_WORK: Final = (
    *("agent", "employee", "staff", "worker", "coworker", "colleague", "operator", "advisor", "adviser"),
    *("representative", "rep", "consultant", "associate", "personnel", "workforce", "crew", "csr", "clerk"),
    *("dispatcher", "manager", "supervisor", "contractor", "trainee", "apprentice", "intern", "interviewer", "teacher"),
)
IN_EDUCATION: Final = ("student", "pupil", "learner")
SEEKING_WORK: Final = ("candidate", "applicant", "interviewee", "recruit", "jobseeker", "seeker")
PROHIBITED_ROLES: Final = frozenset((*AT_WORK, *IN_EDUCATION, *SEEKING_WORK))
"""Words of a role's name, singular, in lower case, that Article 5(1)(f) of Regulation (EU) 2024/1689 speaks of."""

EXCEPTIONS: Final = ("medical", "safety", "out-of-scope")
"""What may be declared: the two of the Article, or that it does not apply (no one at work or in education, not in the
EU, the person's own research ...)."""


PHONE_RATE_HZ: Final = 8_000
NO_ROLES: Final = (
    "This archive holds stereo recordings at 8 kHz, which look like telephone calls, and no --roles were given: every "
    "channel is scored, an agent's too. Say who speaks where, as in --roles 0=customer,1=agent."
)
"""Warning, once per run."""


def is_phone_call(sample_rate_hz: int | None, num_channels: int | None) -> bool:
    """Whether a recording looks like a telephone call with a channel for each side.

    >>> is_phone_call(8_000, 2), is_phone_call(8_000, 1), is_phone_call(44_100, 2), is_phone_call(None, None)
    (True, False, False, False)
    """
    return sample_rate_hz == PHONE_RATE_HZ and (num_channels or 0) > 1


def is_prohibited(role: str) -> bool:
    """Whether any word of a role's name, in any case and number, is one of PROHIBITED_ROLES. English words only.

    >>> is_prohibited("Agent"), is_prohibited("call-centre agents"), is_prohibited("agent_2"), is_prohibited("customer")
    (True, True, True, False)
    >>> is_prohibited("callAgent"), is_prohibited("job seeker"), is_prohibited("co-worker"), is_prohibited("AGENT")
    (True, True, True, True)
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", role))
    words = re.findall(r"[^\W\d_]+", parted.casefold())
    return any(word in PROHIBITED_ROLES or word.removesuffix("s") in PROHIBITED_ROLES for word in words)


def withheld_channels(roles: Mapping[int, str] | Mapping[str, str], exception: str | None) -> frozenset[int]:
    """Channels that are not scored: those of a prohibited role, unless an exception is declared.

    >>> sorted(withheld_channels({0: "customer", 1: "agent"}, None)), sorted(withheld_channels({1: "agent"}, "safety"))
    ([1], [])
    """
    if exception is not None:
        return frozenset()
    return frozenset(int(channel) for channel, role in roles.items() if is_prohibited(role))


def check_exception(exception: str | None, purpose: str | None) -> None:
    """Raise UsageError unless the exception is one there is, and a purpose stands beside it."""
    if exception is None:
        return
    if exception not in EXCEPTIONS:
        raise UsageError(f"--exception {exception!r} is not one of {', '.join(EXCEPTIONS)}.")
    if not (purpose or "").strip():
        raise UsageError(
            f"--exception {exception} needs --purpose 'why': inferring the emotions of people at work or in education "
            "from their voice is prohibited in the EU (Article 5(1)(f) of Regulation 2024/1689), and who relies on an "
            "exception has to say what for. Both are kept in the table runs."
        )


def withhold_cells(cells: Iterable[Cell], withheld: frozenset[int]) -> Iterator[tuple[Cell, bool]]:
    """Each cell, and whether it may be scored. ``cells``: all channels of an index one after another.

    A channel that for this minute sounds the same as a withheld one holds that person's voice, whatever its own role:
    a mono mix stored twice is not two people. It is withheld too. Silence is nobody's voice.
    """
    if not withheld:
        yield from ((cell, True) for cell in cells)
        return
    for _, group in groupby(cells, key=lambda cell: cell.index):
        together = list(group)
        firsts = {_first(cell) for cell in together if cell.channel in withheld}
        for cell in together:
            if cell.channel in withheld:
                yield cell, False
            elif _first(cell) not in firsts:
                yield cell, True
            elif float(np.var(cell.samples, dtype=np.float64)) <= SILENCE:
                yield (replace(cell, same_as=None) if cell.same_as in withheld else cell), True
            else:
                yield cell, False


def _first(cell: Cell) -> int:
    return cell.channel if cell.same_as is None else cell.same_as
