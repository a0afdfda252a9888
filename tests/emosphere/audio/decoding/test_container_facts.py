"""What a file promises is read from its bytes, and only what is one is taken for a promise."""

from pathlib import Path

import pytest

from emosphere.audio.decoding.container_facts import kind_of, missing_end, mp3_promised_frames, wav_promised_frames


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("wav", "wav"),
        ("aiff", "aiff"),
        ("flac", "flac"),
        ("ogg-vorbis", "ogg"),
        ("ogg-opus", "opus"),
        ("mp3-cbr", "mp3"),
        ("m4a-aac", "mp4"),
        ("adts-aac", "adts"),
        ("webm-opus", "matroska"),
        ("wma", "asf"),
        ("amr", "amr"),
        ("ac3", "ac3"),
        ("sphere", "sphere"),
    ],
)
def test_the_kind_is_told_by_the_first_bytes(encoded, name, kind):
    assert kind_of(encoded(name).path) == kind


def test_a_wav_promises_what_its_data_chunk_declares(encoded, tmp_path):
    source = encoded("wav")
    assert wav_promised_frames(source.path) == len(source.wave)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(Path(source.path).read_bytes()[:10_000])
    assert wav_promised_frames(str(cut)) == len(source.wave)
    assert wav_promised_frames(encoded("flac").path) is None


@pytest.mark.parametrize("name", ["mp3-cbr", "mp3-vbr", "mp3-16k"])
def test_an_mp3_promises_its_length_without_the_padding(encoded, tmp_path, name):
    source = encoded(name)
    assert mp3_promised_frames(source.path) == pytest.approx(len(source.wave), abs=1)
    content = Path(source.path).read_bytes()
    cut, joined = tmp_path / "cut.mp3", tmp_path / "joined.mp3"
    cut.write_bytes(content[: len(content) // 2])
    joined.write_bytes(content + content)
    assert mp3_promised_frames(str(cut)) == mp3_promised_frames(source.path)
    assert mp3_promised_frames(str(joined)) is None


@pytest.mark.parametrize("name", ["ogg-vorbis", "ogg-opus", "m4a-aac"])
def test_a_missing_end_is_seen(encoded, tmp_path, name):
    path = encoded(name).path
    assert missing_end(path) is None
    content = Path(path).read_bytes()
    for share in (0.9, 0.3):
        cut = tmp_path / f"{share}"
        cut.write_bytes(content[: int(share * len(content))])
        assert missing_end(str(cut)) is not None
