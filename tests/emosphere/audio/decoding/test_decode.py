"""One bad recording is a code, never a crash; and every readable one comes out whole."""

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emosphere.audio.decoding.decode import DecodeLimits, open_recording
from emosphere.errors import BadRecording

FAILURES = {
    "azure_missing_wav_header.wav": "UNSUPPORTED",
    "mutagen_106-invalid-streaminfo.flac": "CORRUPT",
    "mutagen_52-overwritten-metadata.flac": "CORRUPT",
    "mutagen_64bit.mp4": "NO_AUDIO",
    "mutagen_adif.aac": "UNSUPPORTED",
    "mutagen_almostempty.mpc": "CORRUPT",
    "mutagen_emptyfile.mp3": "EMPTY",
    "mutagen_ooming-header.flac": "CORRUPT",
    "mutagen_too-short.mp3": "CORRUPT",
    "mutagen_truncated-64bit.mp4": "TRUNCATED",
    "own_30ms.wav": "TOO_SHORT",
    "own_empty.wav": "EMPTY",
    "own_nan_inf_float.wav": "NON_FINITE",
    "own_one_sample.wav": "TOO_SHORT",
    "own_random_bytes.mp3": "UNSUPPORTED",
    "own_text.wav": "UNSUPPORTED",
    "own_truncated_no_moov.mp4": "TRUNCATED",
    "pocketsphinx_awful.wav": "UNSUPPORTED",
    "pocketsphinx_bad.wav": "CORRUPT",
    "pocketsphinx_evil.wav": "CORRUPT",
    "pocketsphinx_null.wav": "EMPTY",
    "pydub_test1_empty.wav": "EMPTY",
}
READABLE = {
    # file: codec, channels, seconds that come out, flaw
    "mutagen_52-too-short-block-size.flac": ("flac", 2, 0.42, "CORRUPT"),
    "mutagen_8k-4ch-1s-silence.aif": ("pcm_s16be", 4, 1.0, None),
    "mutagen_97-unknown-23-update.mp3": ("mp3", 2, 3.74, None),
    "mutagen_alac.m4a": ("alac", 2, 3.68, None),
    "mutagen_bad-xing.mp3": ("mp3", 2, 0.13, None),
    "mutagen_empty.aac": ("aac", 2, 3.69, None),
    "mutagen_empty.ogg": ("vorbis", 2, 3.68, None),
    "mutagen_id3v1v2-combined.mp3": ("mp3", 2, 0.16, None),
    "mutagen_multiplexed.spx": ("speex", 2, 3.70, None),
    "mutagen_no_length.wv": ("wavpack", 2, 3.71, None),
    "mutagen_silence-1.wma": ("wmav2", 2, 3.71, None),
    "mutagen_silence-2s-PCM-16000-08-notags.wav": ("pcm_u8", 2, 2.0, None),
    "mutagen_silence-44-s.ac3": ("ac3", 2, 3.69, None),
    "mutagen_variable-block.flac": ("flac", 2, 0.91, "TRUNCATED"),
    "own name with spaces & ünïcode.wav": ("pcm_s16le", 1, 2.0, None),
    "own_6ch.wav": ("pcm_s16le", 6, 2.0, None),
    "own_antiphase_stereo.wav": ("pcm_s16le", 2, 4.0, None),
    "own_bitflips.flac": ("flac", 2, 8.78, "CORRUPT"),
    "own_bitflips.mp3": ("mp3", 2, 52.98, "CORRUPT"),
    "own_clipped.wav": ("pcm_s16le", 1, 4.0, None),
    "own_dc_offset.wav": ("pcm_s16le", 1, 4.0, None),
    # Its data chunk declares 11 s (the manifest speaks of 4 GiB); 2 s are there.
    "own_header_lies_long.wav": ("pcm_s16le", 1, 2.0, "TRUNCATED"),
    "own_long_silence.flac": ("flac", 1, 600.0, None),
    "own_mp3_named.wav": ("mp3", 2, 7.47, "TRUNCATED"),
    "own_rate_4000.wav": ("pcm_s16le", 1, 4.0, None),
    "own_truncated_half.flac": ("flac", 2, 4.49, "TRUNCATED"),
    "own_truncated_half.mp3": ("mp3", 2, 26.62, "TRUNCATED"),
    "own_truncated_half.ogg": ("vorbis", 2, 4.06, "TRUNCATED"),
    "own_truncated_half.wav": ("pcm_s16le", 1, 5.50, "TRUNCATED"),
    "own_very_quiet.wav": ("pcm_s16le", 1, 4.0, None),
    "pyannote_empty.wav": ("pcm_s16le", 1, 1.0, None),
    "pydub_test5.webm": ("opus", 2, 1.48, None),
    "pydub_wrong_extension.aac": ("aac", 1, 9.66, None),
}


def test_the_two_tables_name_every_broken_file(shared_data):
    files = {path.name for path in (shared_data / "broken").iterdir()} - {"manifest.csv"}
    assert FAILURES.keys() | READABLE.keys() == files


@pytest.mark.parametrize(("name", "code"), FAILURES.items(), ids=FAILURES.keys())
def test_a_file_that_cannot_be_scored_says_why(shared_data, name, code):
    with pytest.raises(BadRecording) as failure:
        list(open_recording(str(shared_data / "broken" / name), limits=DecodeLimits()))
    assert failure.value.code == code
    assert str(failure.value).endswith(".")


@pytest.mark.parametrize(("name", "expected"), READABLE.items(), ids=READABLE.keys())
def test_an_awkward_file_gives_what_it_holds(shared_data, decode, name, expected):
    codec, num_channels, duration_s, flaw = expected
    samples, stream = decode(shared_data / "broken" / name)
    assert (stream.header.codec, len(samples), stream.outcome.flaw) == (codec, num_channels, flaw)
    assert samples.shape[1] == stream.outcome.end_sample == pytest.approx(duration_s * 16_000, abs=160)
    assert (stream.outcome.message is None) == (flaw is None)


def test_every_long_recording_decodes_without_a_flaw(shared_data, decode):
    for path in sorted((shared_data / "longform").iterdir()):
        if path.suffix not in {".csv", ".rttm"}:
            _, stream = decode(path)
            assert stream.outcome.flaw is None, path.name


def test_a_header_only_wav_of_unset_length_is_no_lie(tmp_path, decode):
    wave = np.zeros(16_000, dtype="<i2").tobytes()
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    # As ffmpeg writes into a pipe.
    content = b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data\xff\xff\xff\xff" + wave
    path = tmp_path / "piped.wav"
    path.write_bytes(content)
    _, stream = decode(path)
    assert stream.outcome.end_sample == 16_000
    assert stream.outcome.flaw is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "UNSUPPORTED"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "UNSUPPORTED"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "UNSUPPORTED"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(200), "UNSUPPORTED"),
        (b"%PDF-1.7\n" + bytes(200), "UNSUPPORTED"),
        (b"\x00", "UNSUPPORTED"),
        (b"RIFF", "CORRUPT"),
        (b"OggS", "TRUNCATED"),
    ],
    ids=["hls-playlist", "concat-list", "png", "jpeg", "pdf", "one-byte", "riff-only", "ogg-only"],
)
def test_bytes_that_are_no_audio_are_not_followed_anywhere(tmp_path, content, code):
    path = tmp_path / "recording.wav"
    path.write_bytes(content)
    with pytest.raises(BadRecording) as failure:
        open_recording(str(path), limits=DecodeLimits())
    assert failure.value.code == code


def test_names_are_not_looked_at(tmp_path, buzz, decode):
    for name in ("recording.raw", "concat:a|b.wav", "http:%2f%2fx", os.fsdecode(b"bad\xff\xfename.wav")):
        path = tmp_path / name
        with open(path, "wb") as file:
            soundfile.write(file, buzz(0.5, rate=16_000), 16_000, format="WAV")
        assert decode(path)[0].shape == (1, 8_000)


def test_a_missing_file_is_the_machines_fault(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_recording(str(tmp_path / "none.wav"), limits=DecodeLimits())


def test_limits_refuse_before_they_decode(tmp_path, buzz):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, buzz(3, rate=8_000, channels=4), 8_000)
    for limits, code in (
        (DecodeLimits(max_channels=3), "REFUSED"),
        (DecodeLimits(max_duration_s=2.0), "TOO_LONG"),
        (DecodeLimits(min_sample_rate_hz=16_000), "UNSUPPORTED"),
        (DecodeLimits(min_duration_s=4.0), "TOO_SHORT"),
    ):
        with pytest.raises(BadRecording) as failure:
            list(open_recording(path, limits=limits))
        assert failure.value.code == code


def test_a_recording_of_unknown_length_is_stopped_at_the_limit(encoded):
    stream = open_recording(encoded("adts-aac").path, limits=DecodeLimits(max_duration_s=12.0))
    with pytest.raises(BadRecording, match="longer than the limit"):
        list(stream)


def test_limits_that_contradict_each_other_are_named():
    with pytest.raises(ValueError, match="min_duration_s=5"):
        DecodeLimits(min_duration_s=5.0, max_duration_s=1.0)


def test_memory_does_not_grow_with_length(tmp_path, encode, buzz):
    def peak_bytes(duration_s: float) -> int:
        path = tmp_path / f"{duration_s}.flac"
        encode(path, np.tile(buzz(10, rate=16_000), (round(duration_s / 10), 1)), 16_000, "PCM_16", "sndfile:FLAC")
        tracemalloc.start()
        for _ in open_recording(str(path), limits=DecodeLimits()):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(300) < peak_bytes(60) + 200_000


def test_the_outcome_is_not_known_before_the_end(encoded):
    stream = open_recording(encoded("wav").path, limits=DecodeLimits())
    with pytest.raises(RuntimeError, match="last block"):
        _ = stream.outcome
    stream.close()


def test_the_first_part_of_joined_mp3s_does_not_speak_for_all(tmp_path, encode, buzz, decode):
    first, second = tmp_path / "a.mp3", tmp_path / "b.mp3"
    encode(first, buzz(4, rate=44_100), 44_100, "libmp3lame", "mp3", 64_000)
    encode(second, buzz(6, rate=22_050, channels=2), 22_050, "libmp3lame", "mp3", 64_000)
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    samples, stream = decode(joined)
    assert stream.header.duration_ms is None
    assert len(samples) == 1
    assert samples.shape[1] / 16_000 == pytest.approx(10, abs=0.2)
    assert stream.outcome.flaw is None


def test_a_hole_in_an_mp3_is_told(tmp_path, encoded, decode):
    whole = encoded("mp3-cbr")
    content = bytearray(Path(whole.path).read_bytes())
    at = len(content) // 4
    content[at : at + 20_000] = bytes(20_000)
    path = tmp_path / "hole.mp3"
    path.write_bytes(content)
    samples, stream = decode(path)
    sound, _ = decode(whole.path)
    assert stream.outcome.flaw is not None
    # The reader cannot count what is not there; it is told by the header that something is missing.
    assert samples.shape[1] <= sound.shape[1]


def test_an_absurd_promise_is_not_believed(tmp_path, encoded, decode):
    content = bytearray(Path(encoded("flac").path).read_bytes())
    # The lower 36 bits behind rate, channels and depth in STREAMINFO are the number of samples.
    content[21] |= 0x0F
    path = tmp_path / "lie.flac"
    path.write_bytes(content)
    samples, stream = decode(path)
    assert samples.shape[1] == pytest.approx(16.6 * 16_000, abs=2)
    assert stream.header.duration_ms is None
    assert stream.outcome.flaw == "TRUNCATED"
