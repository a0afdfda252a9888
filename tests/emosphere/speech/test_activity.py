"""The batched network says what silero's own says, frame by frame."""

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from emosphere.speech.activity import LEVEL_DB, WINDOW, levelled, speech_probabilities_of_cells
from emosphere.speech.cells import Cell
from emosphere.speech.cut_segments import SegmentConfig
from tests.rounding import assert_close, rounding_bound


@pytest.fixture(scope="module")
def clip(shared_data, decode):
    samples, _ = decode(shared_data / "longform" / "conversation_two_speakers.wav")
    return samples[0]


@pytest.fixture(scope="module")
def silero():
    folder = Path(find_spec("silero_vad").origin).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = torch.jit.load(str(folder / "data" / "silero_vad.jit"))

    def chunk_by_chunk(wave):
        model.reset_states()
        padded = np.pad(wave, (0, -len(wave) % 512))
        with torch.inference_mode():
            return np.array(
                [model(torch.from_numpy(padded[i : i + 512])[None], 16_000).item() for i in range(0, len(padded), 512)]
            )

    return chunk_by_chunk


def bound(activity, num_frames, dtype):
    """On what rounding does to probabilities: a window's spectrum, convolutions, at each frame the LSTM, the head."""
    convolutions = sum(len(convolution.taps) for convolution in activity.encoder)
    lstm = activity.lstm.input_size + activity.lstm.hidden_size
    return rounding_bound(dtype, WINDOW + convolutions + num_frames * lstm + activity.head.in_features)


@pytest.mark.parametrize("num_samples", [1, 511, 512, 513, 10_000, 471_812])
def test_probabilities_are_those_of_silero(activity, silero, clip, num_samples):
    (ours,) = activity.probabilities([clip[:num_samples]])
    # As scores are promised: it is not quite one function, for the wheel's filters are a Fourier basis only in float32.
    np.testing.assert_allclose(ours, silero(clip[:num_samples]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_company_in_a_batch_changes_nothing(activity, clip, dtype):
    network = copy.deepcopy(activity).to(dtype)
    waves = [clip[:100_000], clip[50_000:62_345], np.zeros(0, dtype=np.float32), clip[200_000:]]
    together = network.probabilities(waves)
    assert len(together[2]) == 0
    for row in (0, 1, 3):
        assert_close(together[row], network.probabilities([waves[row]])[0], bound(network, len(together[row]), dtype))


def test_silence_needs_no_network_and_has_no_speech(activity, monkeypatch):
    silence = np.zeros(200_000, dtype=np.float32)
    (of_silence,) = activity.probabilities([silence])
    assert of_silence.max() < SegmentConfig().off_probability  # so the segments are those that the network would give
    monkeypatch.setattr(activity, "_features", None)
    cells = [
        Cell(channel=0, index=0, start_sample=0, lead_in=0, samples=silence + np.float32(offset), same_as=None)
        for offset in (0, 0.25)
    ]
    for frames in speech_probabilities_of_cells(activity, cells):
        assert frames.shape == of_silence.shape
        assert not frames.any()


def test_nothing_gives_nothing(activity):
    assert activity.probabilities([]) == []
    assert len(activity.probabilities([np.zeros(0, dtype=np.float32)])[0]) == 0


def test_the_lead_in_is_heard_and_not_reported(activity, clip):
    cell = Cell(channel=0, index=1, start_sample=960_512, lead_in=32_768, samples=clip[:200_000], same_as=None)
    (own,) = speech_probabilities_of_cells(activity, [cell])
    (with_lead_in,) = activity.probabilities([levelled(cell.samples)])
    np.testing.assert_array_equal(own, with_lead_in[64:])


def test_quiet_speech_is_heard_as_loud_speech_is(activity, clip):
    def num_speech_frames(gain):
        cell = Cell(channel=0, index=0, start_sample=0, lead_in=0, samples=clip * np.float32(gain), same_as=None)
        return int((speech_probabilities_of_cells(activity, [cell])[0] > 0.5).sum())

    assert num_speech_frames(1.0) > 400
    assert num_speech_frames(0.005) == pytest.approx(num_speech_frames(1.0), abs=2)


def test_levelling_takes_off_an_offset_and_knows_its_bounds():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 160_000).astype(np.float32)
    raised = levelled(noise + np.float32(0.4))
    assert abs(raised.mean()) < 1e-4
    assert 20 * np.log10(raised.std()) == pytest.approx(LEVEL_DB, abs=1)
    assert levelled(noise * np.float32(1e-6)).std() == pytest.approx(1e-8 * 10**2.5, rel=0.01)
    assert not levelled(np.zeros(5000, dtype=np.float32)).any()
    assert len(levelled(np.zeros(0, dtype=np.float32))) == 0
    assert len(levelled(noise[:100])) == 100
