"""Which recording is which: the same answer in every run, on every machine."""

import hashlib


def recording_id(source_uri: str) -> str:
    """First 32 hex digits of the sha256 of ``source_uri``."""
    return hashlib.sha256(source_uri.encode()).hexdigest()[:32]


def file_number(recording: str, num_files: int) -> int:
    """Which of ``num_files`` files of a partition holds a recording: a hash, so that it never moves."""
    return int(recording[:8], 16) % num_files
