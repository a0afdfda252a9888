import hashlib
from collections import Counter

from emosphere.data.identity import file_number, recording_id


def test_the_id_is_the_first_32_hex_digits_of_the_sha256_of_the_uri():
    assert recording_id("s3://b/ü.wav") == hashlib.sha256("s3://b/ü.wav".encode()).hexdigest()[:32]


def test_recordings_spread_over_the_files_of_a_partition():
    counts = Counter(file_number(recording_id(f"s3://b/{n}.wav"), 7) for n in range(7_000))
    assert set(counts) == set(range(7))
    assert max(counts.values()) < 1_200
