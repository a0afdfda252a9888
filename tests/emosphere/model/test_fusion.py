"""Several streams to one vector, by slow twins, in float64: any length, padding unheard, one stream as it was."""

import math
from typing import Any

import pytest
import torch

from emosphere.config import from_mapping
from emosphere.errors import UsageError
from emosphere.model.architecture import (
    CoAttentionFusionConfig,
    ConcatFusionConfig,
    FirstFusionConfig,
    FusionConfig,
    NetworkConfig,
)
from emosphere.model.frames import Frames, validity
from emosphere.model.fusion import CoAttentionFusion, build_fusion
from emosphere.model.network import Network
from tests.rounding import assert_close, num_terms, rounding_bound

FRAME_WIDTHS = {"speech": 5, "wave": 3, "third": 4}
WIDTHS = {"speech": 7, "wave": 6, "third": 2}
LENGTHS = {"speech": (9, 4, 1), "wave": (30, 12, 2), "third": (1, 1, 1)}


def streams(*names: str, fill: float = 0.0) -> tuple[dict[str, torch.Tensor], dict[str, Frames]]:
    """Vectors and frames of three clips; what lies behind a clip's frames is ``fill``."""
    torch.manual_seed(1)
    vectors = {name: torch.randn(3, WIDTHS[name]).double() for name in names}
    frames = {}
    for name in names:
        is_valid = validity(torch.tensor(LENGTHS[name]), max(LENGTHS[name]))
        values = torch.randn(3, max(LENGTHS[name]), FRAME_WIDTHS[name]).double()
        frames[name] = Frames(values.masked_fill(~is_valid[:, :, None], fill), is_valid)
    return vectors, frames


def co_attention(*names: str) -> CoAttentionFusion:
    fusion = build_fusion(
        CoAttentionFusionConfig(dim=8),
        {name: FRAME_WIDTHS[name] for name in names},
        {name: WIDTHS[name] for name in names},
    )
    assert isinstance(fusion, CoAttentionFusion)
    return fusion.double().eval()


def slow(fusion: CoAttentionFusion, vectors: dict[str, torch.Tensor], frames: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of one clip: a vector and (frame, feature) for each stream."""

    def affine(layer: Any, values: torch.Tensor) -> torch.Tensor:
        return layer.weight @ values + layer.bias

    parts = [affine(fusion.vector[name], vector) for name, vector in vectors.items()]
    for name in vectors:
        query = affine(fusion.query[name], torch.cat([vectors[other] for other in vectors if other != name]))
        keys = [affine(fusion.key[name], frame) for frame in frames[name]]
        values = [affine(fusion.value[name], frame) for frame in frames[name]]
        for head in range(4):
            part = slice(2 * head, 2 * head + 2)
            weights = [math.exp(float((query[part] @ key[part]).detach()) / math.sqrt(2)) for key in keys]
            attended = sum(w / sum(weights) * value[part] for w, value in zip(weights, values, strict=True))
            assert isinstance(attended, torch.Tensor)
            parts.append(attended)
    return torch.cat(parts).detach()


def bound(fusion: CoAttentionFusion, dtype: torch.dtype = torch.float64) -> float:
    """Every layer, and an attention to at most 30 frames."""
    return rounding_bound(dtype, num_terms(fusion, 3 * 30) + 8)


@pytest.mark.parametrize("names", [("speech", "wave"), ("wave", "third", "speech")])
def test_co_attention_agrees_with_its_slow_twin_of_any_length(names: tuple[str, ...]) -> None:
    fusion = co_attention(*names)
    vectors, frames = streams(*names)
    found = fusion(vectors, frames)
    assert found.shape == (3, fusion.out_features) == (3, 2 * len(names) * 8)
    for row in range(3):
        own = {name: frames[name].values[row, : LENGTHS[name][row]] for name in names}
        expected = slow(fusion, {name: vector[row] for name, vector in vectors.items()}, own)
        assert_close(found[row].detach(), expected, bound(fusion))


def test_what_stands_in_the_padding_is_never_heard() -> None:
    fusion = co_attention("speech", "wave")
    wanted = fusion(*streams("speech", "wave"))
    for fill in (1e4, math.nan):
        assert torch.equal(fusion(*streams("speech", "wave", fill=fill)), wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_clips_vector_does_not_depend_on_its_company(dtype: torch.dtype) -> None:
    fusion = co_attention("speech", "wave").to(dtype)
    vectors, frames = streams("speech", "wave")
    vectors = {name: vector.to(dtype) for name, vector in vectors.items()}
    frames = {name: Frames(own.values.to(dtype), own.is_valid) for name, own in frames.items()}
    together = fusion(vectors, frames)
    for row in range(3):
        alone = fusion(
            {name: vector[row : row + 1] for name, vector in vectors.items()},
            {
                name: Frames(*(part[row : row + 1, : LENGTHS[name][row]] for part in own))
                for name, own in frames.items()
            },
        )
        assert_close(together[row].detach(), alone[0].detach(), bound(fusion, dtype))


def test_each_streams_frames_are_asked_by_the_others_alone() -> None:
    """Both ways: a stream's own vector does not choose among its own frames."""
    fusion = co_attention("speech", "wave")
    vectors, frames = streams("speech", "wave")
    before = fusion(vectors, frames)
    after = fusion(vectors | {"speech": vectors["speech"] + 1}, frames)
    is_same = [torch.equal(one, other) for one, other in zip(before.split(8, 1), after.split(8, 1), strict=True)]
    # Vectors of speech and wave, then the attended frames of speech and wave.
    assert is_same == [False, True, True, False]


def test_the_attention_drops_out_in_training_alone() -> None:
    fusion = co_attention("speech", "wave")
    given = streams("speech", "wave")
    assert torch.equal(fusion(*given), fusion(*given))
    first, second = (fusion.train()(*given) for _ in range(2))
    assert torch.equal(first[:, :16], second[:, :16])
    assert not torch.equal(first[:, 16:], second[:, 16:])


def test_every_part_of_it_learns() -> None:
    fusion = co_attention("speech", "wave")
    fusion(*streams("speech", "wave")).square().sum().backward()
    for name, tensor in fusion.named_parameters():
        assert tensor.grad is not None
        # A bias of all keys alike moves no weight of a softmax.
        assert (name.startswith("key.") and name.endswith(".bias")) or tensor.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("config", "expected"),
    [(None, ["wave"]), (FirstFusionConfig(), ["wave"]), (ConcatFusionConfig(), ["wave", "third", "speech"])],
    ids=["none", "first", "concat"],
)
def test_first_and_concat_learn_nothing_and_take_vectors_as_they_are(
    config: FusionConfig | None, expected: list[str]
) -> None:
    names = ("wave", "third", "speech")
    fusion = build_fusion(config, {name: FRAME_WIDTHS[name] for name in names}, {name: WIDTHS[name] for name in names})
    vectors, frames = streams(*names)
    found = fusion(vectors, frames)
    assert torch.equal(found, torch.cat([vectors[name] for name in expected], dim=1))
    assert found.shape[1] == fusion.out_features


SMALL: dict[str, Any] = {
    "streams": {"speech": {"kind": "logmel", "num_mels": 16, "dim": 8, "num_blocks": 1}},
    "pooling": {"kind": "style", "dim": 8},
    "heads": {"vad": {"hidden": 8}},
}


def network(**changes: Any) -> Network:
    torch.manual_seed(2)
    return Network(from_mapping(NetworkConfig, SMALL | changes, source="test")).eval()


@pytest.mark.parametrize("kind", ["first", "concat"])
def test_one_stream_costs_nothing_more(kind: str) -> None:
    plain, fused = network(), network(fusion={"kind": kind})
    assert list(plain.state_dict()) == list(fused.state_dict())
    assert {name.split(".")[0] for name in plain.state_dict()} == {"streams", "poolings", "heads"}
    features = plain.features(torch.randn(2, 3000), torch.tensor([3000, 2000]))
    assert torch.equal(plain(features)["vad"], fused(features)["vad"])


def test_one_stream_alone_is_not_fused() -> None:
    message = r"fusion\.kind='co-attention' needs 2 streams or more, and there is only speech; add another, or leave"
    with pytest.raises(UsageError, match=message):
        network(fusion={"kind": "co-attention"})


def test_several_streams_must_say_how_they_become_one() -> None:
    with pytest.raises(UsageError, match=r"streams names speech, wave; .* kind = one of first, concat, co-attention"):
        network(streams=SMALL["streams"] | {"wave": {"kind": "waveform", "channels": 4}})


@pytest.mark.parametrize(("dim", "num_heads"), [(10, 4), (8, 0), (0, 4)])
def test_a_width_that_heads_cannot_share_is_refused(dim: int, num_heads: int) -> None:
    with pytest.raises(ValueError, match=f"dim={dim} must be a multiple of num_heads={num_heads}"):
        CoAttentionFusionConfig(dim=dim, num_heads=num_heads)
