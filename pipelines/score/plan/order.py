"""What decides the order in which recordings are planned, as far as a listing tells it."""

import os

from pipelines.archive.recording import Recording

BYTES_PER_S = {
    ".amr": 1_600,
    ".opus": 4_000,
    ".webm": 4_000,
    ".ogg": 8_000,
    ".m4a": 12_000,
    ".aac": 12_000,
    ".mp3": 12_000,
    ".mp4": 24_000,
    ".flac": 24_000,
}
"""Usual bytes per second of encodings that take less than 16 kHz PCM: what is long is told by size and ending."""
PCM_BYTES_PER_S = 32_000


def rank(recording: Recording) -> int:
    """0: members, in the order of their container, which is then read once. 1: objects, of which the longest are known
    and go first. 2: what cannot be scored and takes no time.
    """
    if recording.error_code is not None:
        return 2
    return 1 if recording.kind == "object" else 0


def likely_seconds(recording: Recording) -> float | None:
    """About how long an object plays, so that what is left at the end is short; an unknown size may be a long one."""
    if recording.kind != "object":
        return None
    if recording.num_bytes is None:
        return float("inf")
    ending = os.path.splitext(recording.source_uri)[1].lower()
    return recording.num_bytes / BYTES_PER_S.get(ending, PCM_BYTES_PER_S)
