"""Heads and the whole network by the design's parameter counts; what a detached head may move."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from emosphere.config import from_mapping
from emosphere.errors import UsageError
from emosphere.model.architecture import HeadConfig, NetworkConfig
from emosphere.model.heads import Head
from emosphere.model.network import Network
from emosphere.model.pretrained import PretrainedEncoder
from tests.encoders import TINY

SMALL: dict[str, Any] = {
    "streams": {"speech": {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1}},
    "pooling": {"kind": "style", "dim": 8},
    "heads": {"vad": {"hidden": 8}, "region": {"hidden": 8}},
}


def network(values: Mapping[str, Any] = SMALL) -> Network:
    return Network(from_mapping(NetworkConfig, values, source="test")).eval()


@pytest.mark.parametrize(
    ("in_features", "outputs", "count"), [(1024, 3, 1_054_723), (1024, 8, 1_059_848), (2048, 3, 2_103_299)]
)
def test_heads_have_the_papers_parameter_counts(in_features: int, outputs: int, count: int) -> None:
    assert sum(tensor.numel() for tensor in Head(in_features, outputs, HeadConfig()).parameters()) == count


def test_a_heads_norm_and_activation_are_settings() -> None:
    head = Head(6, 3, HeadConfig(hidden=5, norm="none", activation="tanh")).eval()
    vector = torch.randn(2, 6)
    _, first, _, _, _, last = head.layers
    expected = torch.tanh(vector @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(head(vector), expected)


def test_every_head_answers_from_the_same_vector() -> None:
    net = network()
    features = net.features(torch.randn(4, 3000), torch.tensor([3000, 2000, 700, 640]))
    answers = net(features)
    assert {name: tuple(answer.shape) for name, answer in answers.items()} == {"vad": (4, 3), "region": (4, 8)}
    [embedding] = net.embed(features)
    torch.testing.assert_close(net.heads["vad"](embedding.vector), answers["vad"])


def test_a_detached_head_moves_itself_alone() -> None:
    net = network()
    features = net.features(torch.randn(2, 3000), torch.tensor([3000, 2000]))
    net.member_answers(net.embed(features), detached={"region"})["region"].values.square().sum().backward()
    moved = {
        name.split(".")[0] + "." + name.split(".")[1]
        for name, tensor in net.named_parameters()
        if tensor.grad is not None
    }
    assert moved == {"heads.region"}


def test_encoders_and_poolings_combine_by_settings_alone() -> None:
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    tiny |= {"conv_dim": [4] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    for encoder in (SMALL["streams"]["speech"], {"kind": "hubert", "size": "large", "settings": tiny}):
        for pooling in ({"kind": "style", "dim": 8}, {"kind": "statistics"}, {"kind": "mean"}):
            net = network(SMALL | {"streams": {"speech": encoder}, "pooling": pooling})
            answers = net(net.features(torch.randn(1, 2000), torch.tensor([2000])))
            assert answers["vad"].shape == (1, 3)


def test_a_network_needs_a_head_whichever_it_is() -> None:
    net = network(SMALL | {"heads": {"region": {"hidden": 8}}})
    answers = net(net.features(torch.randn(1, 2000), torch.tensor([2000])))
    assert {name: tuple(answer.shape) for name, answer in answers.items()} == {"region": (1, 8)}
    with pytest.raises(UsageError, match=r"heads names none; add \[network\.heads\.vad\]"):
        network(SMALL | {"heads": {}})


def test_a_committee_answers_with_the_mean_of_its_members() -> None:
    net = network(SMALL | {"members": 3})
    features = net.features(torch.randn(4, 3000), torch.tensor([3000, 2000, 700, 640]))
    answers = net(features)
    members = []
    for number in range(3):
        prefix = f"others.{number - 1}." if number else ""
        alone = network()  # the same parts by themselves
        alone.load_state_dict({name: net.state_dict()[prefix + name] for name in alone.state_dict()})
        members.append(alone(features))
    assert not torch.allclose(members[0]["vad"], members[1]["vad"])
    torch.testing.assert_close(answers["vad"], (members[0]["vad"] + members[1]["vad"] + members[2]["vad"]) / 3)
    mean = sum(one["region"].softmax(dim=1) for one in members) / 3
    torch.testing.assert_close(answers["region"].softmax(dim=1), mean)
    for name, each in net.member_answers(net.embed(features)).items():
        assert each.is_valid is None
        torch.testing.assert_close(each.values, torch.stack([one[name] for one in members]))
    # In training as in scoring: no shape depends on the mode.
    shapes = {name: answer.shape for name, answer in answers.items()}
    assert {name: answer.shape for name, answer in net.train()(features).items()} == shapes


def test_a_vector_of_one_member_is_not_taken_for_that_of_all() -> None:
    net = network(SMALL | {"members": 3})
    features = net.features(torch.randn(2, 3000), torch.tensor([3000, 2000]))
    with pytest.raises(ValueError, match="shorter than argument 1"):
        net.answers(net.embed(features)[:1])


def test_members_are_for_small_encoders_and_at_least_one() -> None:
    with pytest.raises(UsageError, match="members=0 must be at least 1"):
        network(SMALL | {"members": 0})
    with pytest.raises(UsageError, match=r"members=2 with a pretrained encoder.*logmel"):
        network(SMALL | {"streams": {"speech": {"kind": "wavlm"}}, "members": 2})


def test_another_head_still_moves_what_a_detached_one_reads() -> None:
    net = network()
    features = net.features(torch.randn(2, 3000), torch.tensor([3000, 2000]))
    net.member_answers(net.embed(features), detached={"region"})["vad"].values.square().sum().backward()
    moved = {name.split(".")[0] for name, tensor in net.named_parameters() if tensor.grad is not None}
    assert moved == {"streams", "poolings", "heads"}


def test_every_stream_of_every_member_has_an_encoder_and_a_pooling_of_its_own() -> None:
    stream = SMALL["streams"]["speech"]
    net = network(SMALL | {"streams": {"a": stream, "b": stream}, "fusion": {"kind": "concat"}, "members": 2})
    features = net.features(torch.randn(2, 3000), torch.tensor([3000, 2000]))
    for member, embedding in zip(net.members, net.embed(features), strict=True):
        frames = {name: member.streams[name](features[name]) for name in "ab"}
        vectors = [member.poolings[name](frames[name]) for name in "ab"]
        assert not torch.allclose(*vectors)
        torch.testing.assert_close(embedding.vector, torch.cat(vectors, dim=1))
        for name in "ab":
            torch.testing.assert_close(embedding.frames[name].values, frames[name].values)


def test_the_shortest_waveform_has_a_frame_in_every_stream() -> None:
    streams = {
        "spectrum": SMALL["streams"]["speech"],
        "pretrained": {"kind": "wavlm", "size": "large", "settings": TINY},
    }
    for order in (("spectrum", "pretrained"), ("pretrained", "spectrum")):
        net = network(SMALL | {"streams": {name: streams[name] for name in order}, "fusion": {"kind": "concat"}})
        least = {name: encoder.min_samples for name, encoder in net.encoders.items()}
        assert net.min_samples == least["spectrum"] > least["pretrained"]


def test_published_weights_reach_the_stream_that_they_are_named_for(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[object, str]] = []
    monkeypatch.setattr(PretrainedEncoder, "start_from", lambda self, folder: started.append((self, folder)))
    pretrained = {"kind": "wavlm", "size": "large", "settings": TINY}
    streams = {"a": pretrained, "b": SMALL["streams"]["speech"], "c": pretrained}
    net = network(SMALL | {"streams": streams, "fusion": {"kind": "concat"}})
    net.streams.start_from({"c": "its folder", "a": "another"})
    assert started == [(net.streams["c"], "its folder"), (net.streams["a"], "another")]
