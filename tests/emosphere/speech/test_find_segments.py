"""What is found carries its place, its sound and its quality."""

import numpy as np
import pytest

from emosphere.audio.decoding.decode import DecodeLimits, open_recording
from emosphere.speech.cells import Cell, CellGrid, cut_cells
from emosphere.speech.cut_segments import SegmentConfig
from emosphere.speech.find_segments import find_segments
from emosphere.speech.quality import QualityConfig


@pytest.fixture(scope="module")
def find(activity, cells_of):
    def find(path):
        cells = cells_of(path)
        return cells, find_segments(cells, activity, SegmentConfig(), QualityConfig())

    return find


def test_segments_lie_in_the_recording_where_they_say(find, shared_data, decode):
    path = shared_data / "longform" / "librivox_de.mp3"
    whole, _ = decode(path)
    cells, segments_of_cells = find(path)
    assert len(segments_of_cells) == len(cells)
    for cell, segments in zip(cells, segments_of_cells, strict=True):
        for segment in segments:
            assert (segment.channel, segment.cell_index) == (cell.channel, cell.index)
            assert cell.start_sample <= segment.start_sample < segment.stop_sample <= cell.stop_sample
            np.testing.assert_array_equal(segment.samples, whole[0, segment.start_sample : segment.stop_sample])
            assert 0 < segment.speech_ms <= (segment.stop_sample - segment.start_sample) / 16
            assert segment.bandwidth_hz is not None


def test_segments_do_not_depend_on_the_company_of_cells(find, shared_data, activity):
    cells, together = find(shared_data / "longform" / "two_channel_16k.wav")
    alone = [find_segments([cell], activity, SegmentConfig(), QualityConfig())[0] for cell in cells]
    assert [[(s.start_sample, s.stop_sample, s.snr_db) for s in part] for part in alone] == [
        [(s.start_sample, s.stop_sample, s.snr_db) for s in part] for part in together
    ]


def test_a_telephone_has_the_band_of_a_telephone(find, shared_data):
    _, segments_of_cells = find(shared_data / "longform" / "stereo_call_mulaw_8k.wav")
    assert {segment.channel for part in segments_of_cells for segment in part} == {0, 1}
    assert all(segment.bandwidth_hz <= 4000 for part in segments_of_cells for segment in part)


def test_nearly_silent_speech_is_heard_and_marked(find, shared_data):
    _, (segments,) = find(shared_data / "broken" / "own_very_quiet.wav")
    assert segments
    assert all(segment.confidence == "low" and "quiet" in segment.low_reason for segment in segments)


def test_the_last_frame_of_a_recording_is_not_padded_into_a_segment(find, shared_data, decode):
    path = shared_data / "longform" / "chinese.flac"
    whole, _ = decode(path)
    _, (segments,) = find(path)
    assert segments[-1].stop_sample <= whole.shape[1]
    assert segments[-1].low_reason == "short"


@pytest.mark.parametrize("name", ["composite_long.mp3", "ami_meetings_5min.m4a", "ami_meetings_5min.opus"])
def test_segments_do_not_depend_on_how_a_recording_is_divided(shared_data, activity, name):
    path = str(shared_data / "longform" / name)
    grid = CellGrid()

    def segments_between(first, stop):
        stream = open_recording(path, start_s=grid.span_s(first), limits=DecodeLimits())
        cells = list(cut_cells(stream, start_sample=stream.start_sample, first_cell=first, stop_cell=stop, grid=grid))
        stream.close()
        return [s for part in find_segments(cells, activity, SegmentConfig(), QualityConfig()) for s in part]

    whole = segments_between(0, 5)
    apart = segments_between(0, 1) + segments_between(1, 3) + segments_between(3, 5)
    assert [(s.start_sample, s.stop_sample, s.speech_ms) for s in apart] == [
        (s.start_sample, s.stop_sample, s.speech_ms) for s in whole
    ]
    for one, other in zip(apart, whole, strict=True):
        np.testing.assert_allclose(one.samples, other.samples, rtol=0, atol=1e-6)
        assert (one.confidence, one.low_reason) == (other.confidence, other.low_reason)


@pytest.mark.parametrize("num_samples", [512 * 375, 512 * 375 + 1, 512 * 1875 + 100, 300, 0])
def test_without_looking_for_speech_all_of_a_cell_is_cut_evenly(num_samples):
    rng = np.random.default_rng(1)
    wave = rng.normal(0, 0.1, 32_768 + num_samples).astype(np.float32)
    cell = Cell(channel=2, index=3, start_sample=5120, lead_in=32_768, samples=wave, same_as=None)
    (segments,) = find_segments([cell], None, SegmentConfig(), QualityConfig())
    lengths = [segment.stop_sample - segment.start_sample for segment in segments]
    assert len(lengths) == -(-num_samples // (512 * 375))
    assert sum(lengths) == num_samples
    assert max(lengths, default=0) - min(lengths, default=0) <= 2 * 512
    together = [segment.samples for segment in segments]
    np.testing.assert_array_equal(np.concatenate([*together, wave[:0]]), wave[32_768:])
    for segment in segments:
        assert segment.snr_db is None
        assert segment.speech_ms == (segment.stop_sample - segment.start_sample) // 16
        assert (segment.confidence, segment.low_reason) == (("ok", None) if num_samples > 300 else ("low", "short"))
