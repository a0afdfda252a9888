"""One voice on two channels is one voice, whatever codec carried it; two voices are two."""

import numpy as np
import pytest
import soundfile

from emosphere.speech.same_sound import duplicate_of

CODECS = {
    "wav": ("PCM_16", "sndfile:WAV", 0),
    "vorbis": ("VORBIS", "sndfile:OGG", 0),
    "mp3": ("libmp3lame", "mp3", 48_000),
    "opus": ("libopus", "ogg", 24_000),
    "aac": ("aac", "ipod", 48_000),
    "ac3": ("ac3", "ac3", 128_000),
    "wma": ("wmav2", "asf", 64_000),
}


@pytest.mark.parametrize(("codec", "container", "bit_rate"), CODECS.values(), ids=CODECS.keys())
def test_one_voice_on_two_channels_is_recognised(shared_data, tmp_path, encode, decode, codec, container, bit_rate):
    # French read aloud, at 48 kHz as every codec here takes it.
    voice, _ = soundfile.read(shared_data / "longform" / "french_read.wav", dtype="float32", frames=16_000 * 10)
    wide = np.repeat(np.repeat(voice, 3)[:, None], 2, axis=1)
    encode(tmp_path / "dual", wide, 48_000, codec, container, bit_rate)
    samples, _ = decode(tmp_path / "dual")
    assert duplicate_of(samples) == [None, 0]


@pytest.mark.parametrize(
    "name", ["stereo_call_mulaw_8k.wav", "two_channel_16k.wav", "stereo_short.wav", "multi_speaker.wav", "stereo.opus"]
)
def test_two_sides_of_a_conversation_are_two(shared_data, decode, name):
    samples, _ = decode(shared_data / "longform" / name)
    assert duplicate_of(samples) == [None, None]


def test_a_reading_recorded_in_stereo_is_two_channels(shared_data, decode):
    for name in ("librivox_sonnet.mp3", "librivox_sonnet.aac", "librivox_sonnet.flac"):
        samples, _ = decode(shared_data / "longform" / name)
        assert duplicate_of(samples) == [None, None], name


def test_silent_channels_are_one_and_differ_from_all_others():
    rng = np.random.default_rng(0)
    silence, voice = np.zeros(32_000), rng.normal(0, 0.1, 32_000)
    samples = np.stack([voice, silence, silence, -voice, voice + 0.2]).astype(np.float32)
    # An offset is an electrical matter; a turned polarity is kept apart, as nobody asked.
    assert duplicate_of(samples) == [None, None, 1, None, 0]
