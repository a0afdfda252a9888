"""The notebook user's door, and what the engine promises the pipeline."""

import dataclasses
import gc
import inspect
import weakref

import numpy as np
import pandas
import pytest

import emosphere
from emosphere.audio.decoding.decode import DecodeLimits, open_recording
from emosphere.clips.batches import read_clip
from emosphere.errors import UsageError
from emosphere.inference import Scorer, columns_of
from emosphere.model.architecture import HeadConfig, LogMelConfig, MeanPoolingConfig, NetworkConfig
from emosphere.model.checkpoint import Checkpoint, load_checkpoint
from emosphere.model.description import MAX_CLIP_S, CheckpointConfig
from emosphere.model.find import BUNDLED
from emosphere.model.network import Network
from emosphere.settings import BatchSettings, SpeechSettings
from emosphere.speech.cells import Cell, cut_cells
from emosphere.speech.cut_segments import SegmentConfig
from emosphere.tables.schema import columns_from
from emosphere.tasks import Published
from emosphere.tasks.category import CategoryTask
from emosphere.tasks.region import RegionTask
from emosphere.tasks.vad import VadTask
from tests.rounding import assert_same_rows


@pytest.fixture(scope="module")
def scorer():
    return emosphere.load("default", device="cpu")


@pytest.fixture(scope="module")
def voice(request):
    path = request.config.rootpath / "demo/archive/podcast_episode_01.mp3"
    return np.concatenate(list(open_recording(str(path), limits=DecodeLimits())), axis=1)[0]


def test_a_waveform_becomes_rows_with_the_columns_of_segments_that_apply(scorer, voice):
    table = scorer.score(voice, sample_rate_hz=16_000)
    assert list(table.columns)[:5] == ["channel", "segment_index", "start_ms", "end_ms", "speech_ms"]
    assert len(table) > 3
    assert table[["valence", "arousal", "dominance"]].abs().max().max() <= 1
    assert "recording_id" not in table
    np.testing.assert_allclose(
        table["radius"] ** 2, (table[["valence", "arousal", "dominance"]] ** 2).sum(axis=1), rtol=1e-5
    )


def test_every_head_fills_its_own_columns():
    tasks = {"mood": CategoryTask(words=("good", "bad")), "vad": VadTask(), "region": RegionTask()}
    answers = {
        "mood": np.array([[0.75, 0.25]], np.float32),
        "vad": np.array([[-0.5, 0.5, 0.5]], np.float32),
        "region": np.linspace(0.0, 0.25, 8, dtype=np.float32)[None],
    }
    columns = columns_of(Published(tasks, answers))
    assert list(columns) == columns_from("segments", "model")
    found = {name: columns[name].tolist()[0] for name in ("category", "valence", "region", "region_prob")}
    assert found == {"category": "good", "valence": -0.5, "region": 3, "region_prob": answers["region"][0, 3]}
    assert columns["vad_radius_90"].tolist() == [None]


def tiny() -> Checkpoint:
    """A random network of a category and a region head."""
    config = CheckpointConfig(
        network=NetworkConfig(
            streams={"speech": LogMelConfig(kind="logmel", num_mels=16, dim=8, num_blocks=1)},
            pooling=MeanPoolingConfig(kind="mean"),
            heads={"mood": HeadConfig(label="category", hidden=8), "region": HeadConfig(hidden=8)},
        ),
        name="tiny",
        licence="CC0-1.0",
        labels={"category": CategoryTask(words=("good", "bad"))},
    )
    return Checkpoint(network=Network(config.network, config.tasks).eval(), config=config, digest="0" * 12)


def test_a_model_fills_the_columns_of_its_heads_and_leaves_all_others_null(voice):
    table = Scorer(tiny()).score(voice[: 16_000 * 20], sample_rate_hz=16_000)
    assert len(table) > 1
    filled = ["category", "category_prob", "category_probs"]
    assert set(table["category"]) <= {"good", "bad"}
    assert ((table["category_prob"] >= 0.5) & (table["category_prob"] <= 1)).all()
    assert not table[filled].isna().any().any()
    # Without a point there is no region to give the probability of.
    empty = [name for name in columns_from("segments", "model") if name not in filled]
    assert {"valence", "region", "region_prob", "vad_radius_90"} <= set(empty)
    assert all(value is None for name in empty for value in table[name])


def test_utterances_cut_before_can_be_taken_whole(scorer, voice):
    speech = SpeechSettings(find_speech=False)
    whole = Scorer(load_checkpoint(BUNDLED), speech=speech).score(voice[: 16_000 * 5], 16_000)
    assert whole[["start_ms", "end_ms", "speech_ms"]].to_numpy().tolist() == [[0, 5000, 5000]]
    assert scorer.score(voice[: 16_000 * 5], 16_000)["speech_ms"].sum() < 5000


def test_segments_longer_than_the_models_clips_are_refused_when_it_is_loaded(scorer):
    speech = SpeechSettings(segment=SegmentConfig(max_s=12.5))
    for make in (lambda: emosphere.load(speech=speech), lambda: Scorer(scorer.checkpoint, speech=speech)):
        with pytest.raises(
            UsageError, match=r"max_s=12\.5: the model emosphere-default was trained .* at most 12\.0 s"
        ):
            make()
    assert emosphere.load(device="cpu", speech=SpeechSettings(find_speech=False)).speech.find_speech is False


def test_one_length_holds_for_segments_checkpoints_clips_and_evaluation():
    assert SegmentConfig().max_s == MAX_CLIP_S
    defaults = {field.name: field.default for field in dataclasses.fields(CheckpointConfig)}
    assert defaults["max_clip_s"] == MAX_CLIP_S
    assert inspect.signature(read_clip).parameters["max_s"].default == MAX_CLIP_S


def test_silence_and_emptiness_give_no_rows(scorer):
    assert len(scorer.score(np.zeros(48_000), sample_rate_hz=16_000)) == 0
    assert len(scorer.score(np.zeros(0), sample_rate_hz=16_000)) == 0


def test_another_rate_and_float64_give_the_same_times(scorer, voice):
    import soxr

    at_44k = soxr.resample(voice.astype(np.float64), 16_000, 44_100)
    one, other = scorer.score(voice, 16_000), scorer.score(at_44k, 44_100)
    assert len(one) == len(other)
    assert (one["start_ms"] - other["start_ms"]).abs().max() <= 64
    assert (one["arousal"] - other["arousal"]).abs().max() < 0.1


def test_channels_stay_apart_and_identical_ones_are_one(scorer, voice):
    left, right = voice[:160_000], voice[320_000:480_000]
    both = scorer.score(np.stack([left, right, left]), 16_000)
    assert set(both["channel"]) == {0, 1}
    for channel, wave in enumerate([left, right]):
        alone = scorer.score(wave, 16_000).drop(columns="channel")
        here = both[both["channel"] == channel].drop(columns="channel").reset_index(drop=True)
        assert_same_rows(here, alone)


@pytest.mark.parametrize("wave", [np.zeros((2, 2, 2)), np.array([0.0, np.nan])], ids=["three axes", "NaN"])
def test_what_is_no_waveform_is_refused(scorer, wave):
    with pytest.raises(ValueError, match=r"shape|NaN"):
        scorer.score(wave, 16_000)


def test_keys_may_interleave_and_each_comes_out_whole(scorer, voice):
    cells = list(cut_cells([voice[None]], start_sample=0, first_cell=0, stop_cell=None, grid=scorer.speech.grid))
    events = [(key, cell) for cell in cells for key in "ab"] + [("b", None), ("a", None), ("none", None)]
    scored = dict(scorer.score_cells(events))
    assert set(scored) == {"a", "b", "none"}
    assert scored["none"].rows == []
    assert_same_rows(pandas.DataFrame(scored["a"].rows), pandas.DataFrame(scored["b"].rows))
    assert len(scored["a"].rows) == len(scorer.score(voice, 16_000))


def test_what_is_held_does_not_grow_with_the_recording(voice):
    """Fifty cells go through; never more than a batch of them, and of their segments a pool, are alive."""
    scorer = Scorer(tiny(), batch=BatchSettings(cells=4, pool_s=60.0, batch_s=60.0))
    minute = np.resize(voice, 16_000 * 62)
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    class Samples(np.ndarray):
        __hash__ = object.__hash__

    def endless():
        nonlocal most
        for index in range(50):
            samples = minute.copy().view(Samples)
            alive.add(samples)
            yield (
                0,
                Cell(
                    channel=0, index=index, start_sample=index * 960_000, lead_in=32_000, samples=samples, same_as=None
                ),
            )
            del samples
            if index % 10 == 0:
                gc.collect()
            most = max(most, len(alive))
        yield 0, None

    [(_, scored)] = scorer.score_cells(endless())
    assert len(scored.rows) > 200
    assert most <= 8
