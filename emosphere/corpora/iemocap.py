"""IEMOCAP (Busso et al. 2008): five sessions of two actors each, labels on 1..5."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from emosphere.clips.rows import Corpus, Row, Scale, read_text, transcript_of, uri_for
from emosphere.errors import UsageError
from emosphere.store import Location
from emosphere.vad import VAD_DIMS

CATEGORIES: Final[dict[str, str | None]] = {
    "ang": "anger",
    "hap": "happiness",
    "exc": "excitement",
    "sad": "sadness",
    "neu": "neutral",
    "fru": "frustration",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
    "oth": "other",
    "xxx": None,
}
"""Abbreviations of the summary lines; xxx: the raters did not agree."""

SESSIONS: Final = range(1, 6)

_TURN = re.compile(r"\[([\d.]+) - ([\d.]+)\]\t(\S+)\t(\w+)\t\[([^,\]]*), ([^,\]]*), ([^,\]]*)\]\s*")
_WORDS = re.compile(r"C-(\w+):\t(.*?);?\t.*")
_SAID = re.compile(r"(\S+) \[[\d.]+ ?- ?[\d.]+\]: ?(.*)")
_NUMBERS = re.compile(r"A-(\w+):\tval\s*([\d.]*)\s*;\s*act\s*([\d.]*)\s*;\s*dom\s*([\d.]*)\s*;?.*")


def read_iemocap(source: Location, *, test_session: int = 5, dev_session: int = 4) -> Corpus:
    """Rows of all turns in ``SessionN/dialog/EmoEvaluation/*.txt``; their audio lies in ``SessionN/sentences/wav``.

    What is said comes from lines ``TURN [start-end]: text`` of ``SessionN/dialog/transcriptions/*.txt``, where these
    files are; other lines there (``M: Yeah.``, of nobody's turn) are left, and a turn without one has no transcript.
    One session is ``test``, one ``dev``, the others ``train``: no actor is in two. Raises UsageError for a missing
    session, an unknown emotion, a label line that is not as documented or a transcript that is no UTF-8 text.
    """
    for name, session in (("--test-session", test_session), ("--dev-session", dev_session)):
        if session not in SESSIONS:
            raise UsageError(f"{name} {session} is not one of {SESSIONS[0]}..{SESSIONS[-1]}.")
    if test_session == dev_session:
        raise UsageError(f"--test-session and --dev-session are both {test_session}; they must differ.")
    split_of = {session: "train" for session in SESSIONS} | {test_session: "test", dev_session: "dev"}
    rows: list[Row] = []
    for session in SESSIONS:
        turns = list(_session_rows(source.child(f"Session{session}"), session))
        if not turns:
            raise UsageError(
                f"{source.uri}: Session{session}/dialog/EmoEvaluation holds no labelled turn; SOURCE is the folder "
                "with Session1 to Session5."
            )
        rows += [row | {"split": split_of[session]} for row in turns]
    silent = sum(row["transcript"] is None for row in rows)
    notes = [f"iemocap: {silent} of {len(rows)} turns have no transcript."] if silent else []
    return Corpus(rows=rows, scales=dict.fromkeys(VAD_DIMS, Scale(1, 5)), notes=notes)


def _session_rows(session: Location, number: int) -> Iterator[Row]:
    folder = session.child("dialog", "EmoEvaluation")
    wav = session.child("sentences", "wav")
    said = dict(_said(session.child("dialog", "transcriptions")))
    for name in _dialogs(folder):
        lines = folder.child(name).read_bytes().decode("utf-8", errors="replace").splitlines()
        where = f"Session{number}/dialog/EmoEvaluation/{name}"
        yield from _dialog_rows(lines, where, wav, number, said)


def _dialogs(folder: Location) -> Iterator[str]:
    """Names of the folder's own text files. Deeper folders hold the raters' own files; "._" files are macOS's."""
    for path in folder.files():
        below = path[len(folder.path) :].strip("/")
        if "/" not in below and not below.startswith(".") and below.endswith(".txt"):
            yield below


def _said(folder: Location) -> Iterator[tuple[str, str | None]]:
    """Each turn and what is said in it."""
    for name in _dialogs(folder):
        file = folder.child(name)
        for line in (read_text(file) or "").split("\n"):
            if match := _SAID.fullmatch(line.strip()):
                try:
                    yield match[1], transcript_of(match[2])
                except ValueError as error:
                    raise UsageError(f"{file.uri}: transcript of {match[1]} is {error}.") from None


def _dialog_rows(
    lines: list[str], where: str, wav: Location, session: int, said: Mapping[str, str | None]
) -> Iterator[Row]:
    row: Row | None = None
    answers: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if line.startswith("["):
            if row:
                yield _with_ratings(row, answers)
            row, answers = _turn(line, f"{where} line {number}", wav, session, said), {}
        elif match := _WORDS.fullmatch(line):
            words = [word.strip() for word in match[2].split(";") if word.strip()]
            answers.setdefault(match[1], {"rater": match[1]})["categories"] = words
        elif match := _NUMBERS.fullmatch(line):
            given = {dim: float(text) if text else None for dim, text in zip(VAD_DIMS, match.groups()[1:], strict=True)}
            answers.setdefault(match[1], {"rater": match[1]}).update(given)
    if row:
        yield _with_ratings(row, answers)


def _turn(line: str, where: str, wav: Location, session: int, said: Mapping[str, str | None]) -> Row:
    match = _TURN.fullmatch(line)
    if match is None:
        raise UsageError(f"{where}: {line!r} is not '[start - end]<tab>turn<tab>emotion<tab>[V, A, D]'.")
    turn, emotion = match[3], match[4]
    if emotion not in CATEGORIES:
        raise UsageError(f"{where} ({turn}): emotion {emotion!r} is not one of {', '.join(CATEGORIES)}.")
    dialog, _, last = turn.rpartition("_")
    # The letter of the turn says who speaks; the one after the session says who wore the markers.
    return {
        "uri": uri_for(wav.child(dialog, f"{turn}.wav")),
        "start_ms": 0,
        **dict(zip(VAD_DIMS, match.groups()[4:], strict=True)),
        "weak": False,
        "category": CATEGORIES[emotion],
        "speaker": f"iemocap_Ses{session:02}{last[:1]}",
        "gender": {"F": "female", "M": "male"}.get(last[:1]),
        "corpus": "iemocap",
        "transcript": said.get(turn),
        "where": f"{where} ({turn})",
    }


def _with_ratings(row: Row, answers: dict[str, dict[str, Any]]) -> Row:
    return row | {"ratings": json.dumps(list(answers.values()), ensure_ascii=False) if answers else None}
