"""What no manifest may hold, whatever corpus it came from: refused, or left out and listed; never guessed."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from emosphere.clips.rows import PLACE, Corpus, DroppedClip, Row, label_of, label_set_of
from emosphere.errors import UsageError
from emosphere.vad import VAD_DIMS

SHOWN = 3
"""Examples that a message names."""


def centred_rows(corpus: Corpus, *, drop_bad_labels: bool = False) -> tuple[list[Row], list[DroppedClip]]:
    """Rows with centred labels, and those left out: nobody labelled them, or they repeat a row before them.

    A label that is not given is a dimension that nobody rated; words of label sets come sorted. Raises UsageError
    naming the rows when labels are not numbers, not finite or outside their scale or label sets are none (unless
    ``drop_bad_labels``), and when two rows label one clip differently.
    """
    kept: list[Row] = []
    dropped: list[DroppedClip] = []
    bad: list[DroppedClip] = []
    for row in corpus.rows:
        try:
            labels = {**_centred(row, corpus), "categories": _label_set(row)}
        except ValueError as error:
            bad.append(DroppedClip(row["uri"], "bad_label", str(error), row["where"]))
            continue
        if not row.get("category") and all(value is None for value in labels.values()):
            dropped.append(DroppedClip(row["uri"], "no_label", "neither rated nor given a category", row["where"]))
        else:
            kept.append(row | labels)
    if bad and not drop_bad_labels:
        raise UsageError(
            f"{_count(bad, 'row')} with bad labels: {_examples(bad)} Correct them, or say --drop-bad-labels to leave "
            "them out; if there are many, the declared scale is wrong."
        )
    kept, repeated = _without_repeated(kept)
    return kept, [*dropped, *bad, *repeated]


def check_speakers(rows: Iterable[Row], *, allow_shared: bool = False) -> list[str]:
    """Notes about speakers who are in two splits; raises UsageError about them unless ``allow_shared``."""
    splits: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        splits[row["speaker"]].setdefault(row["split"], row["where"])
    shared = {speaker: places for speaker, places in splits.items() if len(places) > 1}
    if not shared:
        return []
    examples = "; ".join(
        f"{speaker} in " + " and ".join(f"{split} ({where})" for split, where in places.items())
        for speaker, places in list(shared.items())[:SHOWN]
    )
    message = f"{len(shared)} of {len(splits)} speakers are in more than one split: {examples}."
    if not allow_shared:
        raise UsageError(
            f"{message} What is measured on them says little about new voices; mend the splits, or say "
            "--allow-shared-speakers."
        )
    return [message]


def check_audio(bad: Sequence[DroppedClip], num_rows: int, *, drop_missing: bool, listed_in: str | None) -> None:
    """Raise UsageError when the audio of any row is missing or cannot be used, unless ``drop_missing``."""
    if bad and not drop_missing:
        listed = f" All are listed in {listed_in}." if listed_in else ""
        raise UsageError(
            f"{_count(bad, 'clip')} of {num_rows} cannot be heard: {_examples(bad)}{listed} Mend the audio, or say "
            "--drop-missing to leave them out."
        )


def check_any_left(rows: Sequence[Row], dropped: Sequence[DroppedClip]) -> None:
    """Raise UsageError when no row is left, with the reasons."""
    if not rows:
        reasons = ", ".join(f"{reason} {count}" for reason, count in count_reasons(dropped).items()) or "none was read"
        raise UsageError(f"No clip is left for the manifest ({reasons}); nothing was written.")


def count_reasons(dropped: Iterable[DroppedClip]) -> dict[str, int]:
    """Number of clips left out, by reason."""
    counts: defaultdict[str, int] = defaultdict(int)
    for clip in dropped:
        counts[clip.reason] += 1
    return dict(counts)


def dropped_csv(dropped: Iterable[DroppedClip]) -> bytes:
    """CSV table ``uri, reason, detail, where``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["uri", "reason", "detail", "where"])
    writer.writerows([clip.uri, clip.reason, clip.detail, clip.where] for clip in dropped)
    return text.getvalue().encode("utf-8", errors="surrogateescape")


def _centred(row: Row, corpus: Corpus) -> dict[str, float | None]:
    labels: dict[str, float | None] = {}
    for dim in VAD_DIMS:
        try:
            rating = label_of(row.get(dim))
        except ValueError as error:
            raise ValueError(f"{dim} is {error}") from None
        if rating is None:
            labels[dim] = None
            continue
        scale = corpus.scales[dim]
        if not scale.low <= rating <= scale.high:
            raise ValueError(f"{dim} is {rating:g}, outside the scale {scale}")
        labels[dim] = scale.centred(rating)
    return labels


def _label_set(row: Row) -> str | None:
    try:
        words = label_set_of(row.get("categories"), row.get("category"))
    except ValueError as error:
        raise ValueError(f"categories is {error}") from None
    return json.dumps(sorted(words), ensure_ascii=False) if words else None


def _without_repeated(rows: Sequence[Row]) -> tuple[list[Row], list[DroppedClip]]:
    first: dict[tuple[object, ...], Row] = {}
    kept: list[Row] = []
    repeated: list[DroppedClip] = []
    for row in rows:
        key = tuple(row.get(name) for name in PLACE)
        before = first.setdefault(key, row)
        if before is row:
            kept.append(row)
            continue
        differing = [name for name in row if name not in ("where", "ratings") and row[name] != before.get(name)]
        if differing:
            raise UsageError(
                f"{row['where']} is the same clip as {before['where']}, with another {', '.join(differing)}: one of "
                "them must go."
            )
        repeated.append(DroppedClip(row["uri"], "repeated", f"the same as {before['where']}", row["where"]))
    return kept, repeated


def _count(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _examples(bad: Sequence[DroppedClip]) -> str:
    shown = "; ".join(f"{clip.where}: {clip.detail.rstrip('.')}" for clip in bad[:SHOWN])
    return shown + ("; ..." if len(bad) > SHOWN else ".")
