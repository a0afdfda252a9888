"""Segments are cut at pauses and lose no speech."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosphere.speech.activity import FRAME, speech_probabilities_of_cells
from emosphere.speech.cut_segments import FRAME_MS, Segment, SegmentConfig, even_segments, segments_of, speech_runs

CONFIG = SegmentConfig()
MAX_FRAMES = 375


def talk(*stretches: tuple[float, float]) -> np.ndarray:
    """Probabilities of stretches of (seconds, probability)."""
    return np.concatenate([np.full(round(1000 * s / FRAME_MS), p, dtype=np.float32) for s, p in stretches])


@st.composite
def probabilities(draw):
    """Speech and pauses of all lengths, with some wavering."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.lists(st.integers(1, 600), max_size=25))
    levels = [draw(st.sampled_from([0.02, 0.3, 0.45, 0.6, 0.9, 0.99])) for _ in lengths]
    steady = np.concatenate([np.zeros(0), *(np.full(n, p) for n, p in zip(lengths, levels, strict=True))])
    return np.clip(steady + rng.normal(0, 0.05, len(steady)), 0, 1).astype(np.float32)


@given(probabilities())
def test_segments_are_in_order_apart_inside_and_short_enough(found):
    segments = segments_of(found, CONFIG)
    edges = [edge for segment in segments for edge in segment[:2]]
    assert edges == sorted(edges)
    for segment in segments:
        assert 0 <= segment.start_frame < segment.stop_frame <= len(found)
        assert segment.stop_frame - segment.start_frame <= MAX_FRAMES
        assert 0 < segment.speech_frames <= segment.stop_frame - segment.start_frame


@given(
    probabilities(),
    st.floats(0.001, 13.0),
    st.floats(0.001, 13.0),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 5000),
)
def test_whatever_config_is_accepted_can_cut(found, max_s, min_s, min_speech_ms, pause_ms, pad_ms):
    try:
        config = SegmentConfig(max_s=max_s, min_s=min_s, min_speech_ms=min_speech_ms, pause_ms=pause_ms, pad_ms=pad_ms)
    except ValueError:
        return
    for segment in [*segments_of(found, config), *even_segments(len(found), config)]:
        assert 0 <= segment.start_frame < segment.stop_frame <= len(found)
        assert (segment.stop_frame - segment.start_frame) * FRAME_MS <= 1000 * max_s


@given(probabilities())
def test_all_sure_speech_lies_in_segments(found):
    config = SegmentConfig(min_mean_probability=0.0, min_lasting_probability=0.0)
    covered = np.zeros(len(found), dtype=bool)
    segments = segments_of(found, config)
    for segment in segments:
        covered[segment.start_frame : segment.stop_frame] = True
    runs = speech_runs(found, config)
    assert all(covered[run.start : run.stop].all() for run in runs)
    assert sum(segment.speech_frames for segment in segments) == sum(run.stop - run.start for run in runs)


@given(probabilities())
def test_the_same_probabilities_give_the_same_segments(found):
    assert segments_of(found, CONFIG) == segments_of(found.copy(), CONFIG)


def test_silence_has_no_segments():
    assert segments_of(talk((60, 0.01)), CONFIG) == []
    assert segments_of(np.zeros(0, dtype=np.float32), CONFIG) == []


def test_a_pause_ends_a_segment_and_a_breath_does_not():
    assert len(segments_of(talk((3, 0.99), (0.3, 0.02), (3, 0.99)), CONFIG)) == 1
    assert len(segments_of(talk((3, 0.99), (0.8, 0.02), (3, 0.99)), CONFIG)) == 2


def test_a_long_talk_is_cut_at_its_longest_pause():
    found = talk((5, 0.99), (0.2, 0.02), (4, 0.99), (0.4, 0.02), (6, 0.99))
    first, second = segments_of(found, CONFIG)
    pause = range(round(9200 / FRAME_MS), round(9600 / FRAME_MS) + 1)
    assert first.stop_frame in pause
    assert second.start_frame in pause


def test_a_talk_without_a_pause_is_cut_where_speech_is_least_sure():
    found = talk((20, 0.97))
    found[300] = 0.6
    assert [segment[:2] for segment in segments_of(found, CONFIG)] == [(0, 300), (300, len(found))]


def test_a_burst_is_no_speech():
    assert segments_of(talk((2, 0.01), (0.16, 0.99), (2, 0.01)), CONFIG) == []


def test_a_tune_is_no_talk():
    assert segments_of(talk((2, 0.01), (0.9, 0.7), (2, 0.01)), CONFIG) == []
    # Distorted speech of some length is.
    assert len(segments_of(talk((2, 0.01), (2.5, 0.7), (2, 0.01)), CONFIG)) == 1


def test_a_short_answer_joins_a_near_neighbour():
    near = segments_of(talk((2, 0.99), (0.7, 0.02), (0.5, 0.99), (3, 0.02), (2, 0.99)), CONFIG)
    assert len(near) == 2
    alone = segments_of(talk((2, 0.99), (3, 0.02), (0.5, 0.99), (3, 0.02)), CONFIG)
    assert len(alone) == 2
    assert alone[1].speech_frames == round(500 / FRAME_MS)


def test_padding_stays_in_the_cell_and_off_the_neighbours():
    found = talk((2, 0.99), (0.6, 0.02), (2, 0.99))
    first, second = segments_of(found, SegmentConfig(pad_ms=2000))
    assert first.start_frame == 0
    assert second.stop_frame == len(found)
    assert first.stop_frame <= second.start_frame
    assert segments_of(talk((12, 0.99), (5, 0.02)), CONFIG) == [Segment(0, MAX_FRAMES, MAX_FRAMES)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_s": 7.0}, "max_s=12"),
        ({"off_probability": 0.6}, "on_probability=0.5"),
        ({"min_lasting_probability": 0.9}, "min_mean_probability=0.8"),
        ({"pause_ms": -1}, "cannot be negative"),
    ],
)
def test_settings_that_contradict_each_other_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        SegmentConfig(**fields)


@pytest.fixture(scope="module")
def spoken(shared_data, activity, cells_of):
    """By file name: (start, stop) of each segment of the first channel, in seconds."""

    def spans(name):
        cells = [cell for cell in cells_of(shared_data / name) if cell.channel == 0]
        return [
            ((cell.start_sample + s.start_frame * FRAME) / 16_000, (cell.start_sample + s.stop_frame * FRAME) / 16_000)
            for cell, found in zip(cells, speech_probabilities_of_cells(activity, cells), strict=True)
            for s in segments_of(found, CONFIG)
        ]

    return spans


@pytest.mark.parametrize(
    "name",
    [
        "longform/nonspeech_whale.ogg",
        "longform/nonspeech_music.ogg",
        "longform/nonspeech_bird.ogg",
        "broken/pyannote_empty.wav",
        "broken/own_long_silence.flac",
    ],
)
def test_what_is_no_speech_gives_no_segment(spoken, name):
    assert spoken(name) == []


def hundredths(spans, duration_s):
    mask = np.zeros(round(100 * duration_s), dtype=bool)
    for start, stop in spans:
        mask[round(100 * start) : round(100 * stop)] = True
    return mask


def test_meetings_are_cut_where_people_speak(spoken, shared_data):
    turns = [line.split() for line in open_text(shared_data / "longform" / "ami_meetings_5min.rttm")]
    truth = hundredths([(float(t[3]), float(t[3]) + float(t[4])) for t in turns], 300)
    ours = hundredths(spoken("longform/ami_meetings_5min.m4a"), 300)
    # Measured 0.85 and 0.99; the far-field short answers are missed.
    assert (ours & truth).sum() / truth.sum() > 0.8
    assert (ours & truth).sum() / ours.sum() > 0.97


def test_a_composite_is_cut_at_its_joints(spoken, shared_data):
    spans = spoken("longform/composite_long.mp3")
    ours = hundredths(spans, 768)
    lengths = [stop - start for start, stop in spans]
    assert 2 < np.median(lengths) < 8
    assert max(lengths) <= 12
    inside = np.zeros(len(ours), dtype=bool)
    for row in csv.DictReader(open_text(shared_data / "longform" / "composite_long_segments.csv")):
        part = slice(round(100 * float(row["start_s"])), round(100 * float(row["end_s"])))
        inside[part] = True
        share = ours[part].mean()
        assert (share == 0) if row["source"].startswith("nonspeech") else (share > 0.4), row["source"]
    assert (ours & ~inside).sum() <= 100


def test_every_recording_of_speech_gives_segments(spoken, shared_data):
    names = [*(shared_data / "longform").glob("lib*"), *(shared_data / "longform").glob("*.wav")]
    for path in names:
        assert spoken(f"longform/{path.name}"), path.name


def test_six_containers_give_the_same_times(spoken):
    spans = {name: spoken(f"longform/librivox_sonnet.{name}") for name in ("mp3", "aac", "mp4", "webm", "ogg", "flac")}
    for name, own in spans.items():
        np.testing.assert_allclose(own, spans["flac"], rtol=0, atol=0.05, err_msg=name)


def open_text(path):
    return path.read_text(encoding="utf-8").splitlines()
