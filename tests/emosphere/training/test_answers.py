"""Answers to rows are those to each clip alone, in the order asked for; frames keep their stream, mask and member."""

from typing import Any

import pytest
import torch
from torch import Tensor

from emosphere.clips.batches import Batch, InMemoryClips
from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping
from emosphere.model.architecture import NetworkConfig
from emosphere.model.frames import Features, Frames, pad_clips, validity
from emosphere.model.network import Network
from emosphere.tasks import Target, Task
from emosphere.tasks.vad import VadTask
from emosphere.training import Fit, FitConfig, answers_for
from tests.tasks.syllables import SquaredError, SyllablesTask

LENGTHS = [30, 81, 5, 60, 45]
FRAMES = {"speech": [30, 20, 9], "second": [11, 25, 17]}
"""Of three clips, by stream."""


def logmel(num_mels: int) -> dict[str, Any]:
    return {"kind": "logmel", "num_mels": num_mels, "dim": 8, "num_blocks": 1, "dropout": 0.0}


def test_answers_are_in_the_order_of_the_rows() -> None:
    values = {
        "streams": {"speech": logmel(16)},
        "pooling": {"kind": "style", "dim": 8},
        "heads": {"vad": {"hidden": 8}, "region": {"hidden": 8}},  # with dropout
        "members": 2,
    }
    network = Network(from_mapping(NetworkConfig, values, source="test")).train()
    labelled = tuple(
        Clip(uri=f"{row}", speaker="s", corpus="c", split="dev", vad=(0.0, 0.0, 0.0)) for row in range(len(LENGTHS))
    )
    versions = tuple(tuple({"speech": torch.randn(length, 16).half()} for length in LENGTHS) for _ in range(2))
    clips, rows = InMemoryClips(labelled, versions, network.tasks), [3, 0, 4, 1]
    for version in range(2):
        network.train()
        answers = answers_for(network, clips, rows, version=version)
        for place, row in enumerate(rows):
            alone = network.eval()(pad_clips([{"speech": versions[version][row]["speech"].float()}]))
            for head, answer in alone.items():
                torch.testing.assert_close(answers[head][place], answer[0].detach(), rtol=1e-4, atol=1e-5)


def of_frames() -> tuple[Network, Features]:
    """Two members whose head `syllables` reads the second stream, and three clips."""
    values = {
        "streams": {"speech": logmel(16), "second": logmel(12)},
        "pooling": {"kind": "mean"},
        "fusion": {"kind": "concat"},
        "heads": {"vad": {"hidden": 8, "dropout": 0.0}, "syllables": {"hidden": 8, "dropout": 0.0, "reads": "second"}},
        "members": 2,
    }
    labels: dict[str, Task] = {"vad": VadTask(), "syllables": SyllablesTask()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Task.KINDS, "syllables", SyllablesTask)
        network = Network(from_mapping(NetworkConfig, values, source="test"), labels).double()
    widths = {"speech": 16, "second": 12}
    features = {
        name: Frames(torch.randn(3, max(lengths), widths[name]).double(), validity(torch.tensor(lengths), max(lengths)))
        for name, lengths in FRAMES.items()
    }
    return network, features


def spoken(member: Network, features: Features, clip: int) -> Tensor:
    """What a member's head `syllables` says of a clip alone: the sum over its own frames."""
    own = features["second"].values[clip : clip + 1, : FRAMES["second"][clip]]
    frames = member.streams["second"](Frames(own, torch.ones(own.shape[:2], dtype=torch.bool)))
    return member.heads["syllables"](frames.values).sum(dim=1)[0]


def test_a_head_answers_the_frames_of_the_stream_that_it_reads() -> None:
    network, features = of_frames()
    answers = network.eval()(features)["syllables"]
    for clip in range(3):
        mean = sum(spoken(member, features, clip) for member in network.members) / 2
        torch.testing.assert_close(answers[clip], mean, rtol=1e-9, atol=1e-12)


def test_every_member_learns_from_the_frames_of_each_clip() -> None:
    """The twin: plain autograd over what each member says of each clip alone."""
    network, features = of_frames()
    values = torch.tensor([[3.0], [9.0], [1.0]], dtype=torch.float64)
    is_known = torch.tensor([[True], [False], [True]])
    terms = sum((spoken(member, features, clip) - values[clip]) ** 2 for member in network.members for clip in (0, 2))
    assert isinstance(terms, Tensor)
    (terms.sum() / 4).backward()
    expected = {name: tensor.grad.clone() for name, tensor in network.named_parameters() if tensor.grad is not None}
    assert {name.split(".")[0] for name in expected} == {"streams", "heads", "others"}
    nobody = Target(torch.zeros(3, 3), torch.zeros(3, 3, dtype=torch.bool))
    settings = FitConfig(terms={"syllables": SquaredError(scope="piece")}, learning_rate=1e-3)
    Fit(network, settings, {}, steps_per_epoch=1).step(
        [[Batch(features, {"syllables": Target(values, is_known), "vad": nobody})]], epoch=0
    )
    found = {name: tensor.grad for name, tensor in network.named_parameters() if tensor.grad is not None}
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
