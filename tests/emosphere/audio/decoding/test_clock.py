"""Times are those of the recording, whatever the codec adds in front."""

from fractions import Fraction

import av
import numpy as np
import pytest
import soxr

LAG_MS = {
    # Encoder delay is known from the file (or nothing is added): exact.
    **dict.fromkeys(
        ["wav", "wav-float", "aiff", "flac", "sphere", "ogg-vorbis", "ogg-opus", "mp3-vbr", "mp3-cbr", "mp3-16k"], 0.0
    ),
    **dict.fromkeys(["m4a-aac", "m4a-alac", "webm-opus", "mp4-opus", "mkv-aac"], 0.0),
    # The file does not tell: one frame of the encoder remains.
    "adts-aac": 23.2,
    "mpegts-aac": 21.3,
    "ac3": 5.3,
    "wma": -46.4,
}
CONTAINERS = ("mp3", "aac", "mp4", "webm", "ogg", "flac")


def lag_ms(samples, reference) -> float:
    """By how much ``samples`` come later than ``reference``, from the peak of their cross-correlation."""
    size = 1 << 21
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(reference, size).conj()
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return (lag - size if lag > size // 2 else lag) / 16


@pytest.mark.parametrize(("name", "expected_ms"), LAG_MS.items(), ids=LAG_MS.keys())
def test_what_was_put_in_comes_out_at_its_time(encoded, decode, name, expected_ms):
    source = encoded(name)
    reference = soxr.resample(source.wave[: 16 * source.rate, 0], source.rate, 16_000)
    samples, _ = decode(source.path)
    assert lag_ms(samples[0, : len(reference)], reference) == pytest.approx(expected_ms, abs=0.2)


def test_six_containers_of_one_recording_agree(shared_data, decode):
    waves = {name: decode(shared_data / "longform" / f"librivox_sonnet.{name}")[0][0] for name in CONTAINERS}
    for name, wave in waves.items():
        assert abs(lag_ms(wave, waves["flac"])) <= 1.0, name
        assert len(wave) / 16_000 == pytest.approx(9.0, abs=0.02)


def test_audio_that_begins_late_keeps_its_time(tmp_path, buzz, decode):
    wave = buzz(3, rate=48_000)
    with av.open(str(tmp_path / "late.mkv"), "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=48_000)
        stream.layout = "mono"
        video = output.add_stream("rawvideo", rate=25)
        video.width = video.height = 16
        video.pix_fmt = "yuv420p"
        for number in range(100):
            picture = av.VideoFrame(16, 16, "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            output.mux(video.encode(picture))
            if number >= 25:
                at = (number - 25) * 1920
                frame = av.AudioFrame.from_ndarray(
                    (wave[at : at + 1920].T * 32767).astype(np.int16), format="s16", layout="mono"
                )
                frame.rate, frame.pts, frame.time_base = 48_000, 48_000 + at, Fraction(1, 48_000)
                output.mux(stream.encode(frame))
    samples, opened = decode(tmp_path / "late.mkv")
    assert opened.outcome.end_sample == pytest.approx(4 * 16_000, abs=16)
    assert np.abs(samples[0, :15_900]).max() < 1e-6
    reference = soxr.resample(wave[:, 0], 48_000, 16_000)
    assert lag_ms(samples[0], reference) == pytest.approx(1000, abs=0.5)
