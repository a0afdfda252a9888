"""How long each clip is by the header of its audio, or why there is none to be had."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from emosphere.clips.rows import Row
from emosphere.corpora.clip_audio import clip_ms
from emosphere.errors import BadRecording

DISK_THREADS: Final = 8
STORE_THREADS: Final = 32
"""Headers read at once; from a store each one waits for an answer."""
ROWS_AT_ONCE: Final = 10_000
"""Rows that the threads are given at once, which make a task of each."""


class Unusable(NamedTuple):
    """Why a clip's audio cannot be had."""

    code: str
    """Of the closed list of :class:`emosphere.errors.BadRecording`."""
    message: str


AudioFacts = dict[str, Any]
"""What a clip's audio adds to its row: ``duration_ms``, and what a decoded copy says (pipelines.prepare.shards)."""


def clip_lengths(rows: Sequence[Row]) -> Iterator[AudioFacts | Unusable]:
    """For each of ``rows``, in their order, its ``duration_ms``."""
    remote = any("://" in row["uri"] for row in rows)
    with ThreadPoolExecutor(STORE_THREADS if remote else DISK_THREADS) as pool:
        for first in range(0, len(rows), ROWS_AT_ONCE):
            yield from pool.map(_length_of, rows[first : first + ROWS_AT_ONCE])


def unless_bad(work: Callable[[], AudioFacts]) -> AudioFacts | Unusable:
    """What ``work`` gives, or the reason of its BadRecording."""
    try:
        return work()
    except BadRecording as error:
        return Unusable(error.code, str(error))


def _length_of(row: Row) -> AudioFacts | Unusable:
    return unless_bad(lambda: {"duration_ms": clip_ms(row)})
