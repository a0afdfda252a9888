"""Two streams side by side: answered in any company, saved and loaded, exported as one graph."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch

from emosphere.config import from_mapping
from emosphere.model.architecture import NetworkConfig
from emosphere.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from emosphere.model.description import CheckpointConfig, describe_checkpoint
from emosphere.model.export import TOLERANCE, export_onnx
from emosphere.model.network import Network
from emosphere.model.predict import Predictor
from emosphere.tasks.category import CategoryTask
from tests.encoders import TINY
from tests.rounding import assert_close, num_terms, rounding_bound

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")

LOGMEL = {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1}
WAVEFORM = {"kind": "waveform", "channels": 8}
WAVLM = {"kind": "wavlm", "size": "large", "settings": TINY}
WAVLM_OF_SINGLE_CLIPS = {"kind": "wavlm", "size": "base", "settings": TINY}
FUSIONS: list[dict[str, Any]] = [{"kind": "first"}, {"kind": "concat"}, {"kind": "co-attention", "dim": 8}]


def checkpoint(second: dict[str, Any], fusion: dict[str, Any], **changes: Any) -> Checkpoint:
    """Log-mel beside ``second``, with VAD and two categories."""
    torch.manual_seed(0)
    values = {
        "streams": {"spectrum": LOGMEL, "second": second},
        "pooling": {"kind": "statistics"},
        "fusion": fusion,
        "heads": {"vad": {"hidden": 8}, "mood": {"label": "category", "hidden": 8}},
    }
    config = CheckpointConfig(
        network=from_mapping(NetworkConfig, values | changes, source="test"),
        name="two",
        licence="CC0-1.0",
        labels={"category": CategoryTask(words=("good", "bad"), temperature=1.5)},
    )
    network = Network(config.network, config.tasks).eval()
    # Fresh weights answer almost the same to everything; these do not.
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
    return Checkpoint(network=network, config=config, digest="0" * 12)


def clips() -> list[npt.NDArray[np.float32]]:
    dice = np.random.default_rng(0)
    lengths = [16_000, 1, 30_000, 700, 0, 16_000, 5_003, 639, 640, 960]
    return [
        (0.1 * np.sin(np.arange(length) * dice.uniform(0.02, 0.5)) + 0.02 * dice.standard_normal(length)).astype("f4")
        for length in lengths
    ]


def bound(loaded: Checkpoint) -> float:
    """On what rounding in float32 does to answers: through all layers, mean and deviation over a waveform of 30,000
    samples, two layers that attend to 93 frames, a mean of these, and co-attention.
    """
    return rounding_bound(torch.float32, num_terms(loaded.network, 4 * 93) + 2 * 30_000)


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: str(fusion["kind"]))
@pytest.mark.parametrize("second", [WAVEFORM, WAVLM, WAVLM_OF_SINGLE_CLIPS], ids=["waveform", "wavlm", "group norm"])
def test_answers_do_not_depend_on_what_a_clip_is_batched_with(second: dict[str, Any], fusion: dict[str, Any]) -> None:
    loaded = checkpoint(second, fusion)
    together = Predictor(loaded).predict(clips())
    assert {head: answers.shape for head, answers in together.items()} == {"vad": (10, 3), "mood": (10, 2)}
    assert together["vad"].std(axis=0).max() > 2e-3
    for batch_s in (0.01, 1.0):
        others = Predictor(loaded, batch_s=batch_s).predict(clips())
        for head, answers in together.items():
            assert_close(others[head], answers, bound(loaded))


def test_every_stream_is_heard_where_the_fusion_takes_it() -> None:
    """Or else half the cost is for nothing: what one stream hears moves the answer."""
    waveforms, lengths = torch.from_numpy(clips()[0])[None], torch.tensor([16_000])
    for fusion, heard in (("first", [True, False]), ("concat", [True, True]), ("co-attention", [True, True])):
        network = checkpoint(WAVEFORM, {"kind": fusion}).network
        features = network.features(waveforms, lengths)
        other = network.features(waveforms.flip(1), lengths)
        answer = network(features)["vad"]
        moved = [not torch.equal(network(features | {name: other[name]})["vad"], answer) for name in features]
        assert moved == heard, fusion


def test_the_longest_front_end_says_how_short_a_clip_may_be() -> None:
    for second, least in ((WAVEFORM, 640), (WAVLM, 640)):
        network = checkpoint(second, {"kind": "concat"}).network
        assert network.min_samples == least
        assert network.min_samples == max(encoder.min_samples for encoder in network.encoders.values())


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: str(fusion["kind"]))
@pytest.mark.parametrize("second", [WAVEFORM, WAVLM], ids=["waveform", "wavlm"])
def test_what_was_saved_comes_back(second: dict[str, Any], fusion: dict[str, Any], tmp_path: Path) -> None:
    made = checkpoint(second, fusion)
    save_checkpoint(made.network, tmp_path, made.config, card="# Two\n")
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == describe_checkpoint(tmp_path).config == made.config
    assert list(loaded.config.network.streams) == ["spectrum", "second"]
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
    given = clips()[:2]
    for head, answers in Predictor(made).predict(given).items():
        np.testing.assert_array_equal(Predictor(loaded).predict(given)[head], answers)


@pytest.mark.parametrize(
    ("second", "fusion"),
    [
        pytest.param(WAVEFORM, FUSIONS[1], id="waveform, concat", marks=pytest.mark.heavy),
        pytest.param(WAVEFORM, FUSIONS[2], id="waveform, co-attention"),
        pytest.param(WAVLM, FUSIONS[2], id="wavlm, co-attention", marks=pytest.mark.heavy),
    ],
)
def test_both_become_one_graph_that_answers_alike(
    second: dict[str, Any], fusion: dict[str, Any], tmp_path: Path
) -> None:
    loaded = checkpoint(second, fusion)
    exported = export_onnx(loaded, tmp_path, card="")
    assert exported.largest_difference <= TOLERANCE
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["vad", "mood_probs"]
    # Not the silent ones: the optimiser of graphs takes the log-mel's `+ 1e-10` for adding nothing, and log(0) follows.
    given = [clip for clip in clips() if len(clip) > 1]
    wanted = Predictor(loaded).predict(given)
    waveform = np.full((len(given), 30_000), np.nan, np.float32)
    for row, clip in zip(waveform, given, strict=True):
        row[: len(clip)] = clip
    outputs = session.run(None, {"waveform": waveform, "num_samples": np.array([len(clip) for clip in given])})
    for found, answers in zip(outputs, wanted.values(), strict=True):
        np.testing.assert_allclose(found, answers, rtol=0, atol=TOLERANCE)


def test_members_hear_both_streams_each_with_parts_of_its_own() -> None:
    loaded = checkpoint(WAVEFORM, FUSIONS[2], members=2)
    network = loaded.network
    features = network.features(torch.from_numpy(clips()[0])[None], torch.tensor([16_000]))
    first, second = network.embed(features)
    assert first.vector.shape == second.vector.shape == (1, 2 * 2 * 8)
    assert list(first.frames) == ["spectrum", "second"]
    assert not torch.equal(first.vector, second.vector)
    own = {name for name in network.state_dict() if name.startswith("others.0.")}
    assert len(own) == len(network.state_dict()) / 2
    answers = Predictor(loaded).predict(clips()[:1])
    mean = (network.heads["vad"](first.vector) + network.others[0].heads["vad"](second.vector)) / 2  # type: ignore[union-attr,index]
    assert_close(answers["vad"], mean.detach().clamp(-1, 1), bound(loaded))
