"""From chosen recordings to an immutable plan: units of bounded work, gathered into parts. Opens no audio."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipelines.archive.recording import RECORDING_SCHEMA
from pipelines.output.ledger import Ledger, RunHeader
from pipelines.score.settings import PlanSettings, ScoreSettings

SMALLEST_PART_BYTES, SMALLEST_PART_UNITS, SHARES = 2 << 20, 4, 32
"""No part takes more than one of so many shares of what is left, down to a smallest: a small archive still makes enough
parts to share out and to resume from, and the last parts are short ones, so that no worker is alone at the end."""
MOST_TOGETHER = 1024
"""Units after which a part ends even where the next one may have the same content."""
WRITERS = 8
"""Parts written at once: a store answers late, not slowly."""

PLAN_SCHEMA = pa.schema(
    [
        ("unit_id", pa.int64()),
        ("recording_id", pa.string()),
        ("unit_index", pa.int32()),
        ("num_units", pa.int32()),
        ("attempts", pa.int32()),
        *RECORDING_SCHEMA,
    ]
)
"""One row per unit: span ``unit_index`` of ``num_units`` of a recording, all its channels. Which seconds that is shows
when the recording is opened: header probing happens while scoring, by many workers, not here."""


def write_plan(
    ledger: Ledger,
    header: RunHeader,
    chosen: Iterable[pa.Table],
    settings: ScoreSettings,
    *,
    num_recordings: int,
    num_bytes: int,
) -> RunHeader:
    """Write parts for the recordings ``chosen`` behind those that ``header`` counts already; return the final header.

    ``chosen``: tables of recording_id, attempts and the fields of a Recording, ``num_recordings`` of ``num_bytes`` in
    all. Memory: a few parts. The header is written last: without it there is no plan.
    """
    part, num_units = header.num_parts, header.num_units
    writing: deque[Future[None]] = deque()
    with ThreadPoolExecutor(WRITERS) as pool:
        for units in _cut(chosen, settings, num_recordings, num_bytes):
            numbered = units.add_column(0, "unit_id", pa.array(np.arange(num_units, num_units + len(units))))
            writing.append(pool.submit(ledger.write_plan_part, header.run_id, part, numbered.select(PLAN_SCHEMA.names)))
            part, num_units = part + 1, num_units + len(units)
            if len(writing) > WRITERS:
                writing.popleft().result()
        while writing:
            writing.popleft().result()
    final = replace(
        header,
        num_parts=part,
        planned=[*header.planned, [header.num_parts, ledger.writing.number]],
        num_units=num_units,
        num_recordings=header.num_recordings + num_recordings,
        num_bytes=header.num_bytes + num_bytes,
    )
    ledger.write_header(final)
    return final


def _cut(
    chosen: Iterable[pa.Table], settings: ScoreSettings, left_recordings: int, left_bytes: int
) -> Iterator[pa.Table]:
    """Parts: tables of units, without their numbers."""
    kept: list[pa.Table] = []
    kept_bytes = kept_units = 0
    for units, is_with_next in (_units(recordings, settings) for recordings in chosen):
        sizes = np.nan_to_num(units.column("num_bytes").to_numpy()) // units.column("num_units").to_numpy()
        begin = 0
        for row, size in enumerate(sizes.astype(np.int64).tolist()):
            kept_bytes, kept_units = kept_bytes + size, kept_units + 1
            most_bytes = min(settings.plan.part_bytes, max(left_bytes // SHARES, SMALLEST_PART_BYTES))
            most_units = min(settings.plan.part_units, max(left_recordings // SHARES, SMALLEST_PART_UNITS))
            is_full = kept_bytes >= most_bytes or kept_units >= most_units
            if is_full and not (is_with_next[row] and kept_units < MOST_TOGETHER):
                yield pa.concat_tables([*kept, units.slice(begin, row + 1 - begin)])
                left_bytes, left_recordings = left_bytes - kept_bytes, left_recordings - kept_units
                kept, kept_bytes, kept_units, begin = [], 0, 0, row + 1
        if begin < len(units):
            kept.append(units.slice(begin))
    if kept:
        yield pa.concat_tables(kept)


def _units(recordings: pa.Table, settings: ScoreSettings) -> tuple[pa.Table, np.ndarray]:
    """Each recording as often as it has units, and which of them belong into one part with the next: the same span of
    what may be duplicates.
    """
    sizes = recordings.column("num_bytes").to_pylist()
    codes = recordings.column("error_code").to_pylist()
    counts = np.array(
        [
            _num_units(size, code, settings.plan, settings.fetch.max_bytes)
            for size, code in zip(sizes, codes, strict=True)
        ],
        dtype=np.int64,
    )
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    units = recordings.take(np.repeat(np.arange(len(counts)), counts))
    for name, values in (("unit_index", np.arange(len(begins)) - begins), ("num_units", np.repeat(counts, counts))):
        units = units.append_column(name, pa.array(values.astype(np.int32)))
    if not settings.plan.score_duplicates_once:
        return units, np.zeros(len(units), dtype=bool)
    known = units.column("num_bytes").to_numpy(zero_copy_only=False)
    index = units.column("unit_index").to_numpy()
    same_size = np.cumsum(np.append(True, known[1:] != known[:-1]))
    order = np.lexsort((np.arange(len(units)), index, same_size))
    spans = np.stack([same_size, index])[:, order]
    return units.take(order), np.append((spans[:, 1:] == spans[:, :-1]).all(axis=0), False)


def _num_units(num_bytes: int | None, error_code: str | None, settings: PlanSettings, max_bytes: int) -> int:
    # One unit is enough to refuse it.
    if error_code is not None or not num_bytes or num_bytes > max_bytes:
        return 1
    return -(-num_bytes // settings.unit_bytes)
