"""MSP-Podcast (Lotfian & Busso): consensus labels on 1..7, official splits, every rater's own answers."""

import json
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from emosphere.clips.rows import (
    Corpus,
    DroppedClip,
    Row,
    Scale,
    csv_rows,
    read_csv,
    read_text,
    transcript_of,
    uri_for,
)
from emosphere.errors import UsageError
from emosphere.store import Location
from emosphere.vad import VAD_DIMS

RELEASES: Final = {"1.11": 151_654, "1.12": 207_136, "2.0": 267_905}
"""Releases this reader knows, each with the number of turns its makers state (those with hidden labels included)."""

CATEGORIES: Final[dict[str, str | None]] = {
    "A": "anger",
    "S": "sadness",
    "H": "happiness",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
    "X": None,
}
"""Letters of EmoClass; X: the raters did not agree. Nothing stands there where labels are hidden (Test3)."""

PRIMARY: Final = ("anger", "sadness", "happiness", "surprise", "fear", "disgust", "contempt", "neutral")
"""The eight categories that the challenges and EmoSphere-SER use."""

SPLITS: Final = {"Train": "train", "Development": "dev", "Test1": "test1", "Test2": "test2", "Test3": "test3"}

TRANSCRIPTS: Final = "Transcripts"
"""Folder with a text file NAME.txt for each NAME.wav that was written down."""
THREADS: Final = 32
"""Transcripts read at once; from a store each one waits for an answer."""

LABELS, DETAILED = "labels_consensus.csv", "labels_detailed.csv"
COLUMNS: Final = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
DIMENSIONS: Final = {"valence": "EmoVal", "arousal": "EmoAct", "dominance": "EmoDom"}

_DETAIL = re.compile(r"\s*([^;]*);(.*);\s*A:\s*([\d.]+)\s*;\s*V:\s*([\d.]+)\s*;\s*D:\s*([\d.]+)\s*;?\s*")


def read_msp_podcast(
    source: Location, *, release: str, drop: Sequence[str] = ("X", "O"), audio: Location | None = None
) -> Corpus:
    """Rows of the release in folder ``source``: ``[Labels/]labels_consensus.csv`` and ``Audios`` or ``Audio``.

    What is said comes from ``Transcripts/NAME.txt``, where there is such a file for ``NAME.wav``.
    ``drop`` names letters of EmoClass to leave out. A clip of speaker ``Unknown`` gets the key ``unknown-SPLIT``, so
    that no unknown voice counts as one that is known elsewhere. Raises UsageError for what this reader does not
    know, and for transcripts that are no UTF-8 text.
    """
    if release not in RELEASES:
        raise UsageError(f"--release {release!r} is not one of {', '.join(RELEASES)}.")
    unknown = [letter for letter in drop if letter not in CATEGORIES]
    if unknown:
        raise UsageError(f"--drop names {', '.join(unknown)}; the letters of EmoClass are {', '.join(CATEGORIES)}.")
    labels = _labels_folder(source)
    table = read_csv(labels.child(LABELS), needs=COLUMNS)
    _check_words(table, "Split_Set", SPLITS, labels)
    _check_words(table, "EmoClass", {**CATEGORIES, "": None}, labels)
    folder = audio or _audio_folder(source)
    ratings = _ratings(labels.child(DETAILED))
    corpus = f"msp-podcast-{release}"
    rows: list[Row] = []
    dropped: list[DroppedClip] = []
    for number, fields in enumerate(table):
        row = _row(fields, folder, corpus, ratings)
        row["where"] = f"{LABELS} row {number} ({fields['FileName']})"
        if fields["EmoClass"] in drop:
            letter = fields["EmoClass"]
            dropped.append(DroppedClip(row["uri"], "category", f"EmoClass {letter}, left out by --drop", row["where"]))
        else:
            rows.append(row)
    notes = [
        f"{corpus}: {len(table)} rows in {LABELS}; the release is said to have {RELEASES[release]} turns.",
        *_speaker_notes(rows),
    ]
    if not ratings:
        notes.append(f"{corpus}: no {DETAILED}, so the column ratings is empty.")
    rows = _with_transcripts(rows, source.child(TRANSCRIPTS))
    if silent := sum(row["transcript"] is None for row in rows):
        notes.append(f"{corpus}: {silent} of {len(rows)} clips have no transcript.")
    return Corpus(rows=rows, scales=dict.fromkeys(VAD_DIMS, Scale(1, 7)), dropped=dropped, notes=notes)


def _row(fields: dict[str, str], folder: Location, corpus: str, ratings: dict[str, list[str]]) -> Row:
    split = SPLITS[fields["Split_Set"]]
    speaker = fields["SpkrID"].strip()
    answers = ratings.get(fields["FileName"])
    return {
        "uri": uri_for(folder.child(fields["FileName"])),
        "start_ms": 0,
        **{dim: fields[column] for dim, column in DIMENSIONS.items()},
        "weak": False,
        "category": CATEGORIES.get(fields["EmoClass"]),
        "speaker": f"msp-podcast_{speaker if _is_known(speaker) else f'unknown-{split}'}",
        "gender": {"female": "female", "male": "male"}.get(fields["Gender"].strip().lower()),
        "split": split,
        "corpus": corpus,
        "ratings": f"[{', '.join(answers)}]" if answers else None,
    }


def _with_transcripts(rows: Sequence[Row], folder: Location) -> list[Row]:
    if not folder.exists():
        return [row | {"transcript": None} for row in rows]
    with ThreadPoolExecutor(THREADS) as pool:
        said = pool.map(partial(_transcript, folder), [row["uri"] for row in rows])
        return [row | {"transcript": text} for row, text in zip(rows, said, strict=True)]


def _transcript(folder: Location, uri: str) -> str | None:
    file = folder.child(f"{posixpath.splitext(posixpath.basename(uri))[0]}.txt")
    try:
        return transcript_of(read_text(file))
    except ValueError as error:
        raise UsageError(f"{file.uri}: the transcript is {error}.") from None


def _is_known(speaker: str) -> bool:
    return speaker.lower() not in ("", "unknown")


def _speaker_notes(rows: Sequence[Row]) -> list[str]:
    unknown = Counter(row["split"] for row in rows if row["speaker"] == f"msp-podcast_unknown-{row['split']}")
    if not unknown:
        return []
    counts = ", ".join(f"{split} {count}" for split, count in unknown.items())
    return [
        f"{unknown.total()} clips have an unknown speaker ({counts}): whether these people also speak in another split "
        "cannot be checked; they are kept under the speaker keys unknown-SPLIT."
    ]


def _check_words(table: Sequence[dict[str, str]], column: str, known: dict[str, Any], labels: Location) -> None:
    for number, fields in enumerate(table):
        if fields[column] not in known:
            raise UsageError(
                f"{labels.child(LABELS).uri}: row {number} ({fields['FileName']}): {column} {fields[column]!r} is not "
                f"one of {', '.join(known)}."
            )


def _labels_folder(source: Location) -> Location:
    for folder in (source.child("Labels"), source.child("labels"), source):
        if folder.child(LABELS).exists():
            return folder
    raise UsageError(f"{source.uri}: holds neither Labels/{LABELS} nor {LABELS}; SOURCE is the release's own folder.")


def _audio_folder(source: Location) -> Location:
    for folder in (source.child("Audios"), source.child("Audio")):
        if folder.exists():
            return folder
    raise UsageError(f"{source.uri}: holds no folder Audios or Audio; name the folder of the WAV files by --audio.")


def _ratings(detailed: Location) -> dict[str, list[str]]:
    """Each file's answers as JSON objects, as given; releases up to 1.12 keep them in one column, 2.0 in several."""
    if not detailed.exists():
        return {}
    answers: defaultdict[str, list[str]] = defaultdict(list)
    for fields in csv_rows(detailed, needs=("FileName",)):
        read = _packed_answer if "EmoDetail" in fields else _answer
        answers[fields["FileName"]].append(json.dumps(read(fields), ensure_ascii=False))
    return answers


def _packed_answer(fields: dict[str, str]) -> dict[str, Any]:
    match = _DETAIL.fullmatch(fields["EmoDetail"])
    if match is None:
        return {"raw": fields["EmoDetail"]}  # kept as it stands rather than lost
    primary, _, secondary = match[2].partition(";")
    return _answer_of(match[1], primary, secondary, valence=match[4], arousal=match[3], dominance=match[5])


def _answer(fields: dict[str, str]) -> dict[str, Any]:
    wanted = ("WorkerID", "EmoClass_Major", "EmoClass_Second", *DIMENSIONS.values())
    if any(name not in fields for name in wanted):
        return {"raw": {name: text for name, text in fields.items() if name != "FileName"}}
    worker, primary, secondary = (fields[name] for name in wanted[:3])
    return _answer_of(worker, primary, secondary, **{dim: fields[column] for dim, column in DIMENSIONS.items()})


def _answer_of(rater: str, primary: str, secondary: str, **dims: str) -> dict[str, Any]:
    return {
        "rater": rater.strip(),
        "categories": [primary.strip()],
        "secondary": [word.strip() for word in secondary.split(",") if word.strip()],
        **{dim: _number(dims[dim]) for dim in VAD_DIMS},
    }


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
