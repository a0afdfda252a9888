"""Addresses in a plan: sealed where they are secret, opened by the same command alone."""

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosphere.errors import BadRecording
from emosphere.tables.identity import IdKey
from pipelines.archive.recording import Recording
from pipelines.archive.seal import MARK, Seal, seal_for

KEY = IdKey(b"sixteen bytes or more")
SIGNED = Recording(source_uri="https://h/a.wav", kind="object", url=b"https://h/a.wav?sig=f00", attributes='{"n": 1}')
MEMBER = Recording(
    source_uri="zip://+49171.wav::file:///calls/x.zip", kind="zip", url=b"file:///calls/x.zip", member="+49171.wav"
)


def test_a_signed_address_is_sealed_and_others_stay_readable():
    seal = Seal(b"secret")
    assert b"f00" not in seal.cover(SIGNED).url
    assert seal.cover(SIGNED).source_uri == SIGNED.source_uri
    assert seal.uncover(seal.cover(SIGNED)) == SIGNED
    assert seal.cover(MEMBER) == MEMBER


def test_with_a_key_no_name_is_readable():
    seal = Seal(KEY.secret, KEY)
    failing = replace(MEMBER, error_message="'/calls/x.zip' holds +49171.wav, which is bad")
    covered = seal.cover(failing)
    assert "49171" not in str(covered)
    assert "calls" not in str(covered)
    assert covered.source_uri == KEY.hash(MEMBER.source_uri)
    assert covered.error_message.endswith("which is bad")
    opened = seal.uncover(covered)
    assert (opened.url, opened.member) == (MEMBER.url, MEMBER.member)


# Not the empty text, which no address is: cryptography 44, or OpenSSL before 3.5, refuses it (pyca/cryptography#10958).
@given(st.binary(min_size=1, max_size=300))
def test_whatever_is_sealed_comes_out_again_and_twice_the_same(url):
    seal = Seal(b"secret", KEY)
    covered = seal.cover(replace(MEMBER, url=url))
    assert seal.uncover(covered).url == url
    assert covered == seal.cover(replace(MEMBER, url=url))


def test_another_commands_seal_is_a_failure_that_may_pass():
    with pytest.raises(BadRecording) as reason:
        Seal(b"other").uncover(Seal(b"secret").cover(SIGNED))
    assert reason.value.code == "FETCH_FAILED"


FLIPS = [(field, place) for field in ("url", "member") for place in (0, 1, 15, 16, 20, -1)]


@pytest.mark.parametrize(("field", "place"), FLIPS, ids=str)
def test_a_seal_that_was_tampered_with_is_not_opened(field, place):
    """In the tag (the first 16 bytes) as in the text."""
    seal = Seal(KEY.secret, KEY)
    covered = seal.cover(MEMBER)
    sealed = getattr(covered, field) if field == "url" else getattr(covered, field).encode()
    data = bytearray(base64.urlsafe_b64decode(sealed.removeprefix(MARK)))
    data[place] ^= 1
    bent = MARK + base64.urlsafe_b64encode(data)
    with pytest.raises(BadRecording, match="asked anew"):
        seal.uncover(replace(covered, **{field: bent if field == "url" else bent.decode()}))
    for cut in (sealed[:-4], MARK, MARK + b"!"):
        with pytest.raises(BadRecording, match="asked anew"):
            seal.uncover(replace(covered, **{field: cut if field == "url" else cut.decode()}))


def test_a_sealed_name_opens_in_its_own_row_and_column_alone():
    seal = Seal(KEY.secret, KEY)
    one, other = seal.cover(MEMBER), seal.cover(replace(MEMBER, source_uri="zip://b::file:///calls/x.zip"))
    assert one.url != other.url, "nor can be seen to lie in one archive file"
    moved = [
        replace(one, url=other.url),
        replace(one, member=other.member),
        replace(one, url=one.member.encode()),
        replace(one, member=one.url.decode()),
    ]
    for recording in moved:
        with pytest.raises(BadRecording, match="asked anew"):
            seal.uncover(recording)


def test_a_member_may_be_called_like_a_seal():
    for name in ("sealed:a.wav", "aes-siv:a.wav"):
        recording = replace(MEMBER, member=name)
        for seal in (Seal(b"secret"), Seal(KEY.secret, KEY)):
            assert seal.uncover(seal.cover(recording)).member == name


def test_what_an_earlier_version_sealed_is_a_failure_that_says_so_and_may_pass():
    earlier = replace(SIGNED, url=b"sealed:AAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    with pytest.raises(BadRecording, match=r"sealed by an earlier version.* it is asked anew") as reason:
        Seal(b"secret").uncover(earlier)
    assert reason.value.code == "FETCH_FAILED"


def test_many_threads_may_open_seals_at_once():
    seal = Seal(KEY.secret, KEY)
    many = [
        replace(MEMBER, source_uri=f"file:///{number}", url=b"file:///" + bytes([65] * number)) for number in range(200)
    ]
    covered = [seal.cover(recording) for recording in many]
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(seal.uncover, covered * 5))
    assert [recording.url for recording in opened] == [recording.url for recording in many] * 5


def test_the_seal_follows_the_command_and_what_its_manifest_holds(tmp_path):
    manifest = tmp_path / "calls.csv"
    manifest.write_text("uri\nhttps://h/a.wav?sig=1\n")
    first = seal_for([str(manifest)], None, {})
    assert seal_for([str(manifest)], None, {}) == first
    manifest.write_text("uri\nhttps://h/a.wav?sig=2\n")
    assert seal_for([str(manifest)], None, {}) != first
    assert seal_for([str(tmp_path / "gone.csv")], None, {}).secret
    assert seal_for([str(manifest)], KEY, {}).secret == KEY.secret
    assert "sixteen" not in repr(Seal(KEY.secret, KEY))


def test_attributes_lose_the_signatures_in_them():
    said = Seal(b"").cover(replace(SIGNED, attributes='{"link": "https://crm/x?token=f00", "id": "007"}')).attributes
    assert said == '{"link": "https://crm/x", "id": "007"}'
