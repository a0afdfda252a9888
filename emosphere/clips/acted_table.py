"""CSV tables of acted emotion words, as canonical rows: the mean of a word is a weak label of what is spoken so."""

from typing import Any, Final

from emosphere.clips.rows import label_of, parse_csv, transcript_of
from emosphere.emotion_words import MEAN_VAD, weak_vad
from emosphere.errors import UsageError
from emosphere.vad import VAD_DIMS

ACTED: Final = ("path", "speaker", "emotion", "intensity", "corpus", "split")
"""Columns that a CSV table of acted emotion words must have."""
ADVICE: Final = " A CSV here is of acted emotion words; `emosphere prepare --format csv` reads any other."


def acted_rows(content: bytes, path: str) -> list[dict[str, Any]]:
    """Canonical rows of a CSV table with ``path, speaker, emotion, intensity, corpus, split`` (others do no harm).

    Of others, ``valence``, ``arousal``, ``dominance``, ``gender``, ``duration_s`` and ``transcript`` are read too.

    The target is the mean of the emotion word, except where the table gives ``valence`` and ``arousal`` ratings on the
    centred scale: then it is these, and dominance is unrated.
    """
    table = list(parse_csv(content, path, needs=ACTED, advice=ADVICE))
    if not table:
        raise UsageError(f"{path}: holds no clip; wanted a CSV table with a header and one row per clip.")
    return [_acted_row(row, f"{path}: row {number} ({row['path']})") for number, row in enumerate(table)]


def _acted_row(row: dict[str, str], where: str) -> dict[str, Any]:
    emotion = row["emotion"]
    if emotion not in MEAN_VAD:
        raise UsageError(f"{where}: emotion {emotion!r} is not one of {', '.join(MEAN_VAD)}.")
    rated = bool(row.get("valence") and row.get("arousal"))
    vad: tuple[float | None, ...] = weak_vad(emotion, row["intensity"])
    if rated:
        vad = tuple(_number(row, dim, where) for dim in VAD_DIMS)
    duration_s = _number(row, "duration_s", where)
    try:
        transcript = transcript_of(row.get("transcript"))
    except ValueError as error:
        raise UsageError(f"{where}: transcript is {error}.") from None
    return {
        "uri": row["path"],
        "start_ms": 0,
        **dict(zip(VAD_DIMS, vad, strict=True)),
        "weak": not rated,
        "category": emotion,
        "intensity": row["intensity"] or None,
        "speaker": _person(row["speaker"]),
        "gender": row.get("gender") or None,
        "split": row["split"],
        "corpus": row["corpus"],
        "duration_ms": None if duration_s is None else round(1000 * duration_s),
        "transcript": transcript,
    }


def _number(row: dict[str, str], column: str, where: str) -> float | None:
    """A field as a number, None where it is empty or there is no such column."""
    try:
        return label_of(row.get(column))
    except ValueError as error:
        raise UsageError(f"{where}: {column} is {error}.") from None


def _person(speaker: str) -> str:
    """Speaker, with the two readings that emotiontts names by one letter (ema, nea) taken as one person.

    The source does not say whether they are; taking them apart could let a voice stand on both sides of a split.
    """
    corpus, _, name = speaker.partition("_")
    return f"{corpus}_{name[2:]}" if corpus == "emotiontts" and name[:2] in {"em", "ne"} else speaker
