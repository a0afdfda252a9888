import hashlib
import hmac
from collections import Counter

import pytest

from emosphere.errors import UsageError
from emosphere.tables.identity import KEY_VARIABLE, IdKey, file_number, id_key, public_uri, recording_id


def test_the_id_is_the_first_32_hex_digits_of_the_sha256_of_the_uri():
    assert recording_id("s3://b/ü.wav") == hashlib.sha256("s3://b/ü.wav".encode()).hexdigest()[:32]


def test_recordings_spread_over_the_files_of_a_partition():
    counts = Counter(file_number(recording_id(f"s3://b/{n}.wav"), 7) for n in range(7_000))
    assert set(counts) == set(range(7))
    assert max(counts.values()) < 1_200


KEY = IdKey(b"sixteen bytes or more")


def test_a_keyed_id_is_the_hmac_of_the_uri():
    uri = "s3://b/+49 171 5551234.wav"
    textbook = hmac.new(b"sixteen bytes or more", uri.encode(), hashlib.sha256).hexdigest()
    assert recording_id(uri, KEY) == textbook[:32] != recording_id(uri)
    assert public_uri(uri, KEY) == textbook
    assert public_uri(uri) == uri


def test_a_key_comes_from_the_environment_alone_and_is_long_enough():
    assert id_key({}) is None
    assert id_key({KEY_VARIABLE: "sixteen bytes or more"}) == KEY
    for short in ("", "fifteen bytes.."):
        with pytest.raises(UsageError, match="at least 16") as refusal:
            id_key({KEY_VARIABLE: short})
        assert not short or short not in str(refusal.value)


def test_a_key_never_shows_itself():
    assert "sixteen" not in f"{KEY!r} {KEY}"
    assert KEY.fingerprint in repr(KEY)
    assert KEY.fingerprint != IdKey(b"another sixteen bytes").fingerprint


@pytest.mark.parametrize(
    "text",
    [
        "/calls/+49 171.wav: there is no such file",
        "Could not list s3://calls/+49 171.wav: Access refused",
        "[Errno 2] No such file: '/calls/+49 171.wav'",
        "zip://+49 171.wav::file:///calls/a.zip, and more",
    ],
)
def test_paths_and_uris_are_hidden_and_the_words_around_them_stay(text):
    hidden = KEY.hide(text)
    assert "171" not in hidden
    assert "keyed:" in hidden
    assert [word for word in ("no such file", "Access refused", "No such file", "and more") if word in text] == [
        word for word in ("no such file", "Access refused", "No such file", "and more") if word in hidden
    ]
    assert KEY.hide("either/or at 30 % of 4 s, see docs/operate.md") == "either/or at 30 % of 4 s, see docs/operate.md"
    assert KEY.hide("a name, with comma.wav is bad", ["a name, with comma.wav"]).endswith(" is bad")
