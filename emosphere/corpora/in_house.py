"""The paper's own division of MSP-Podcast's development part: so many of each category to choose by, the rest to test.

EmoSphere-SER samples 300 clips of each of eight categories for validation and tests on the remainder.
"""

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Sequence

from emosphere.clips.rows import Row
from emosphere.corpora.msp_podcast import PRIMARY
from emosphere.errors import UsageError

TEST, REST = "in-house-test", "in-house-rest"


def split_in_house(rows: Sequence[Row], per_category: int, *, seed: int = 0) -> tuple[list[Row], str]:
    """Rows with ``dev`` cut down to ``per_category`` clips of each of the eight categories, and a note about it.

    The remaining clips of these categories become ``in-house-test``; development clips of another category or none
    become ``in-house-rest``, so that both sets are the same whatever else was dropped or kept. Which clips are drawn
    depends on the seed and their file names alone. Raises UsageError naming the categories that have too few.
    """
    development: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        if row["split"] == "dev":
            development[row["category"]].append(row)
    short = {word: len(development[word]) for word in PRIMARY if len(development[word]) < per_category}
    if short:
        counts = ", ".join(f"{word} {count}" for word, count in short.items())
        raise UsageError(f"--in-house-test {per_category}: the development part has too few clips of {counts}.")
    drawn: set[int] = set()
    for word in PRIMARY:
        in_order = sorted(development[word], key=lambda row: _draw_key(seed, row["uri"]))
        drawn |= {id(row) for row in in_order[:per_category]}
    divided = [row if row["split"] != "dev" or id(row) in drawn else row | {"split": _part(row)} for row in rows]
    speakers = {part: {row["speaker"] for row in divided if row["split"] == part} for part in ("dev", TEST)}
    note = (
        f"dev ({per_category} clips of each of {len(PRIMARY)} categories, seed {seed}) and {TEST} are both from the "
        f"development part: {len(speakers['dev'] & speakers[TEST])} of the {len(speakers[TEST])} speakers of {TEST} "
        "are in dev too."
    )
    return divided, note


def _part(row: Row) -> str:
    return TEST if row["category"] in PRIMARY else REST


def _draw_key(seed: int, uri: str) -> str:
    """Clips are drawn in the order of these."""
    return hashlib.sha256(f"{seed}/{posixpath.basename(uri)}".encode()).hexdigest()
