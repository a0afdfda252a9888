"""A decode from the middle gives the samples of a decode from the beginning, in every codec."""

from pathlib import Path

import numpy as np
import pytest

NAMES = [
    "wav",
    "wav-24-bit",
    "wav-mulaw",
    "flac",
    "ogg-vorbis",
    "ogg-opus",
    "mp3-vbr",
    "mp3-cbr",
    "mp3-16k",
    "m4a-aac",
    "m4a-alac",
    "adts-aac",
    "mpegts-aac",
    "webm-opus",
    "mp4-opus",
    "mkv-aac",
    "ac3",
    "amr",
    "wma",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_samples_do_not_depend_on_where_decoding_began(encoded, decode, name):
    path, duration_s = encoded(name).path, encoded(name).duration_s
    whole, _ = decode(path)
    for start_s in (0.9, 2.5, duration_s / 2, duration_s - 4.61, duration_s - 1.6):
        part, stream = decode(path, start_s)
        assert stream.start_sample <= start_s * 16_000
        expected = whole[:, stream.start_sample :]
        assert part.shape == expected.shape, start_s
        # Rounding in the resampler's float32; no codec needs more.
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-6, err_msg=f"from {start_s} s")


@pytest.mark.parametrize("name", ["wav", "flac", "ogg-vorbis", "ogg-opus", "mp3-cbr", "m4a-aac", "webm-opus"])
def test_a_start_behind_the_end_gives_nothing_and_no_error(encoded, decode, name):
    part, stream = decode(encoded(name).path, 1000.0)
    assert part.shape[1] == 0
    assert stream.outcome.flaw is None


def test_real_recordings_can_be_entered_anywhere(shared_data, decode):
    for name in ("ami_meetings_5min.m4a", "ami_meetings_5min.opus", "librivox_es.mp3", "librivox_sonnet_53s.mp3"):
        path = shared_data / "longform" / name
        whole, _ = decode(path)
        part, stream = decode(path, 40.2)
        np.testing.assert_allclose(part, whole[:, stream.start_sample :], rtol=0, atol=1e-6, err_msg=name)


def test_joined_and_torn_mp3s_can_be_entered_anywhere(encoded, tmp_path, decode):
    one, other = (Path(encoded(name).path).read_bytes() for name in ("mp3-cbr", "mp3-vbr"))
    torn = bytearray(one)
    torn[60_000:90_000] = bytes(30_000)
    for name, content in (("joined", one + other), ("torn", torn)):
        path = tmp_path / name
        path.write_bytes(content)
        whole, _ = decode(path)
        for start_s in (3.3, 11.9):
            part, stream = decode(path, start_s)
            np.testing.assert_allclose(part, whole[:, stream.start_sample :], rtol=0, atol=1e-6, err_msg=name)
