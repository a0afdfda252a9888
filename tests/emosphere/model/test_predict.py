"""Scores of a clip do not depend on order, company or batch size."""

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch

from emosphere.config import from_mapping
from emosphere.model.architecture import NetworkConfig
from emosphere.model.checkpoint import Checkpoint
from emosphere.model.cut_batches import cut_batches
from emosphere.model.description import CheckpointConfig
from emosphere.model.network import Network
from emosphere.model.predict import Predictor
from emosphere.tasks.region import RegionTask
from tests.encoders import TINY
from tests.rounding import assert_close, deviation, num_layers, num_terms, rounding_bound

LOGMEL = {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1}
TINY_GROUP_NORM = {"kind": "wavlm", "size": "base", "settings": TINY}
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


def checkpoint(encoder: object = LOGMEL, *, regions: bool = True, temperature: float = 1.0) -> Checkpoint:
    heads = {"vad": {"hidden": 8}} | ({"region": {"hidden": 8}} if regions else {})
    values = {"streams": {"speech": encoder}, "pooling": {"kind": "style", "dim": 8}, "heads": heads}
    config = CheckpointConfig(
        network=from_mapping(NetworkConfig, values, source="test"),
        name="tiny",
        licence="CC0-1.0",
        labels={"region": RegionTask(temperature=temperature)} if regions else {},
    )
    return Checkpoint(network=Network(config.network, config.tasks).eval(), config=config, digest="0" * 12)


def bound(loaded: Checkpoint) -> float:
    """On what rounding in float32 does to scores: through all layers, two of them attending to 93 frames of 30,000
    samples, and the mean over these.
    """
    return rounding_bound(torch.float32, num_terms(loaded.network, 3 * 93))


def clips() -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    lengths = [16_000, 1, 30_000, 700, 0, 16_000, 5_003, 639]
    return [rng.normal(scale=0.1, size=length).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("encoder", [LOGMEL, TINY_GROUP_NORM], ids=["logmel", "wavlm with group norm"])
@pytest.mark.parametrize("batch_s", [0.5, 3.0, 160.0])
def test_scores_do_not_depend_on_what_a_clip_is_batched_with(encoder: object, batch_s: float) -> None:
    torch.manual_seed(0)
    loaded = checkpoint(encoder)
    together = Predictor(loaded, batch_s=batch_s).predict(clips())
    alone = [Predictor(loaded).predict([clip]) for clip in clips()]
    for head in ("vad", "region"):
        assert_close(together[head], np.concatenate([one[head] for one in alone]), bound(loaded))


def test_every_member_hears_by_its_own_encoder() -> None:
    """What a committee predicts is the mean of what its members, each a network by itself, predict."""
    torch.manual_seed(0)
    config = checkpoint().config
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, members=3))
    committee = Checkpoint(network=Network(config.network, config.tasks).eval(), config=config, digest="0" * 12)
    single = dataclasses.replace(config, network=dataclasses.replace(config.network, members=1))
    alone = []
    for number in range(3):
        prefix = f"others.{number - 1}." if number else ""
        member = Network(single.network, single.tasks).eval()
        member.load_state_dict({name: committee.network.state_dict()[prefix + name] for name in member.state_dict()})
        alone.append(Predictor(Checkpoint(network=member, config=single, digest="0" * 12)).predict(clips()))
    together = Predictor(committee).predict(clips())
    for head in ("vad", "region"):
        mean = (alone[0][head] + alone[1][head] + alone[2][head]) / 3
        assert_close(together[head], mean, bound(committee))
        assert np.abs(alone[0][head] - mean).max() > 100 * bound(committee)


def test_batches_side_by_side_are_computed_by_the_threads_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    loaded = checkpoint()
    alone = Predictor(loaded, batch_s=0.5)
    wanted = alone.predict(clips())
    threads, real = set(), Predictor._answers

    def watched(self: Predictor, batch: Sequence[npt.NDArray[np.float32]]) -> dict[str, torch.Tensor]:
        threads.add(threading.get_ident())
        meeting.wait(timeout=60)  # one after the other they would wait in vain
        return real(self, batch)

    monkeypatch.setattr(Predictor, "_answers", watched)
    num_batches = len(cut_batches([len(clip) for clip in clips()], 8000))
    meeting = threading.Barrier(num_batches)
    # As an actor makes them: what a new thread computes before it is told runs on as many threads as there are cores.
    with ThreadPoolExecutor(num_batches, initializer=torch.set_num_threads, initargs=(1,)) as threads_of_an_actor:
        together = Predictor(loaded, batch_s=0.5, threads=threads_of_an_actor)
        found = together.predict(clips())
    assert len(threads) == num_batches > 2
    assert threading.get_ident() not in threads
    assert list(found) == ["vad", "region"]
    for head, answers in found.items():
        np.testing.assert_array_equal(answers, wanted[head])
    assert (together.num_samples, together.num_padding) == (alone.num_samples, alone.num_padding)


def test_a_pretrained_encoder_is_run_by_its_faster_path(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    loaded = checkpoint(TINY_GROUP_NORM)
    with torch.no_grad():
        clip = torch.from_numpy(clips()[0])[None]
        wanted = loaded.network(loaded.network.features(clip, torch.tensor([16_000])))["vad"].numpy()
    for name in ("features", "forward"):
        monkeypatch.setattr(
            loaded.network.streams["speech"], name, lambda *_: pytest.fail("transformers' path was taken")
        )
    found = Predictor(loaded).predict(clips()[:1])["vad"]
    assert_close(found, wanted, bound(loaded))


def test_bfloat16_moves_scores_by_little_and_only_where_it_was_asked_for() -> None:
    torch.manual_seed(0)
    loaded = checkpoint(TINY_GROUP_NORM)
    # Over 64 frames torch attends by code for AVX-512, also where ATEN_CPU_CAPABILITY forbids it: then it refuses.
    longest = 30_000 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 20_000
    given = [clip[:longest] for clip in clips()]
    exact = Predictor(loaded).predict(given)["vad"]
    near = Predictor(loaded, precision="bfloat16").predict(given)["vad"]
    mean = exact.mean(axis=0)  # fresh weights answer it to everything: what matters is how clips differ
    assert deviation(near - mean, exact - mean) > 0
    assert_close(near - mean, exact - mean, rounding_bound(torch.bfloat16, 2 * num_layers(loaded.network)))
    logmel = checkpoint()
    np.testing.assert_array_equal(
        Predictor(logmel, precision="bfloat16").predict(clips())["vad"], Predictor(logmel).predict(clips())["vad"]
    )


def test_scores_come_back_in_the_given_order() -> None:
    loaded, given = checkpoint(), clips()
    predictor = Predictor(loaded)
    forwards, backwards = predictor.predict(given), predictor.predict(given[::-1])
    assert_close(forwards["vad"], backwards["vad"][::-1], bound(loaded))
    assert len(np.unique(forwards["vad"][:, 0].round(6))) > 4


def test_no_clips_give_no_rows() -> None:
    prediction = Predictor(checkpoint()).predict([])
    assert prediction["vad"].shape == (0, 3)
    assert prediction["region"].shape == (0, 8)


def test_vad_is_clipped_and_probabilities_sum_to_one() -> None:
    loaded = checkpoint()
    with torch.no_grad():
        loaded.network.heads["vad"].layers[-1].bias.copy_(torch.tensor([5.0, -5.0, 0.0]))  # type: ignore[union-attr,operator,index]
    prediction = Predictor(loaded).predict(clips())
    assert prediction["vad"].dtype == np.float32
    assert (prediction["vad"][:, 0] == 1).all()
    assert (prediction["vad"][:, 1] == -1).all()
    assert_close(
        prediction["region"].sum(axis=1), np.ones(len(clips())), rounding_bound(torch.float32, 3 * 8)
    )  # softmax


def test_the_temperature_flattens_the_probabilities() -> None:
    torch.manual_seed(0)
    sharp = Predictor(checkpoint()).predict(clips())["region"]
    torch.manual_seed(0)
    flat = Predictor(checkpoint(temperature=4.0)).predict(clips())["region"]
    assert (flat.max(axis=1) < sharp.max(axis=1)).all()
    assert (flat.argmax(axis=1) == sharp.argmax(axis=1)).all()


def test_a_model_without_region_head_gives_no_probabilities() -> None:
    assert list(Predictor(checkpoint(regions=False)).predict(clips())) == ["vad"]


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros((2, 100), np.float32), r"shape \(2, 100\); wanted one channel"),
        (np.zeros(12 * 16_000 + 1, np.float32), "hears at most 192000 at once"),
        (np.array([0.0, np.nan], np.float32), "holds NaN or infinity"),
    ],
    ids=["stereo", "too long", "not finite"],
)
def test_what_it_cannot_hear_is_refused(clip: npt.NDArray[np.float32], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor(checkpoint()).predict([clip])


@pytest.mark.parametrize(
    ("batch_s", "clips_s", "padding_s"), [(120.0, 9.0, 3.0), (60.0, 7.0, 1.0), (10.0, 6.0, 0.0), (0.1, 6.0, 0.0)]
)
def test_padding_is_counted(batch_s: float, clips_s: float, padding_s: float) -> None:
    predictor = Predictor(checkpoint(), batch_s=batch_s)
    for _ in range(2):
        predictor.predict([np.zeros(16_000 * seconds, np.float32) for seconds in (2, 3, 1)])
    assert (predictor.num_samples, predictor.num_padding) == (2 * 16_000 * clips_s, 2 * 16_000 * padding_s)
    assert (predictor.another().num_samples, predictor.another().num_padding) == (0, 0)
