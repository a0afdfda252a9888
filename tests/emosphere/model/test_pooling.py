"""Style pooling by the design's numbers and by a slow twin, in float64."""

import math

import pytest
import torch

from emosphere.model.architecture import MeanPoolingConfig, StatisticsPoolingConfig, StylePoolingConfig
from emosphere.model.frames import Frames, validity
from emosphere.model.pooling import MeanPooling, StatisticsPooling, StylePooling, build_pooling
from tests.rounding import assert_close, num_terms, rounding_bound

LENGTHS = torch.tensor([9, 4, 1])
NUM_OTHER_TERMS = 8
"""What a pooling adds up neither in a layer nor over frames: products of queries and keys, or with its scores."""


def small_style() -> StylePooling:
    return StylePooling(6, StylePoolingConfig(kind="style", dim=8)).double().eval()


def small_statistics() -> StatisticsPooling:
    return StatisticsPooling(6, StatisticsPoolingConfig(kind="statistics")).double().eval()


def small_mean() -> MeanPooling:
    return MeanPooling(6, MeanPoolingConfig(kind="mean"))


def ragged(fill: float) -> Frames:
    """Three clips of 9, 4 and 1 frames; what lies behind them is ``fill``."""
    torch.manual_seed(1)
    is_valid = validity(LENGTHS, 9)
    values = torch.randn(3, 9, 6, dtype=torch.float64)
    return Frames(values.masked_fill(~is_valid[:, :, None], fill), is_valid)


def assert_agrees(pooling: torch.nn.Module, found: torch.Tensor, wanted: torch.Tensor) -> None:
    """But for rounding: over 9 frames at most twice, in an attention and in a mean."""
    bound = rounding_bound(found.dtype, num_terms(pooling, 2 * 9) + NUM_OTHER_TERMS)
    assert_close(found.detach(), wanted.detach(), bound)


def test_the_papers_style_pooling_has_its_28_322_816_parameters() -> None:
    pooling = StylePooling(1024, StylePoolingConfig(kind="style"))
    assert sum(tensor.numel() for tensor in pooling.parameters()) == 28_322_816
    parts = [pooling.spectral, pooling.temporal, pooling.attention, pooling.out]
    assert [sum(tensor.numel() for tensor in part.parameters()) for part in parts] == [
        2_099_200,
        20_975_616,
        4_198_400,
        1_049_600,
    ]


def test_the_ablations_pooling_has_its_1_050_624_parameters() -> None:
    pooling = StatisticsPooling(1024, StatisticsPoolingConfig(kind="statistics"))
    assert sum(tensor.numel() for tensor in pooling.parameters()) == 1_050_624
    assert pooling.out_features == 2048


def test_base_plus_widens_768_features_in_the_first_layer() -> None:
    pooling = build_pooling(768, StylePoolingConfig(kind="style"))
    assert pooling.out_features == 1024
    assert sum(tensor.numel() for tensor in pooling.parameters()) == 28_322_816 - 256 * 1024


@pytest.mark.parametrize("make", [small_style, small_statistics, small_mean])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_clips_vector_does_not_depend_on_its_company(make: type, dtype: torch.dtype) -> None:
    pooling, frames = make().to(dtype), ragged(0.0)
    frames = Frames(frames.values.to(dtype), frames.is_valid)
    together = pooling(frames)
    for row, length in enumerate(LENGTHS):
        alone = pooling(Frames(frames.values[row : row + 1, :length], frames.is_valid[row : row + 1, :length]))
        assert_agrees(pooling, together[row], alone[0])


@pytest.mark.parametrize("make", [small_style, small_statistics, small_mean])
def test_what_stands_in_the_padding_is_never_heard(make: type) -> None:
    pooling = make()
    assert_agrees(pooling, pooling(ragged(1e4)), pooling(ragged(0.0)))


def test_style_pooling_agrees_with_its_slow_twin() -> None:
    pooling, frames = small_style(), ragged(0.0)
    found = pooling(frames)
    for row, length in enumerate(LENGTHS):
        expected = slow_style(pooling, frames.values[row, :length])
        assert_agrees(pooling, found[row], expected)


def test_statistics_pooling_agrees_with_its_slow_twin() -> None:
    pooling, frames = small_statistics(), ragged(0.0)
    found = pooling(frames)
    for row, length in enumerate(LENGTHS):
        frame_list = frames.values[row, :length]
        scores = torch.stack(
            [torch.tanh(pooling.hidden.weight @ x + pooling.hidden.bias) @ pooling.score for x in frame_list]
        )
        weights = scores.exp() / scores.exp().sum()
        mean = sum(w * x for w, x in zip(weights, frame_list, strict=True))
        square = sum(w * x * x for w, x in zip(weights, frame_list, strict=True))
        expected = torch.cat([mean, (square - mean * mean).clamp(min=1e-5).sqrt()])
        assert_agrees(pooling, found[row], expected)


def test_mean_pooling_agrees_with_its_slow_twin() -> None:
    pooling, frames = build_pooling(6, MeanPoolingConfig(kind="mean")), ragged(7.0)
    assert (pooling.out_features, list(pooling.parameters())) == (6, [])
    for row, length in enumerate(LENGTHS):
        expected = sum(frames.values[row, frame] for frame in range(length)) / length
        assert_agrees(pooling, pooling(frames)[row], expected)


def test_one_frame_gives_a_finite_gradient() -> None:
    pooling = small_statistics()
    frames = Frames(torch.randn(1, 1, 6, dtype=torch.float64, requires_grad=True), torch.ones(1, 1, dtype=torch.bool))
    pooling(frames).sum().backward()
    assert frames.values.grad is not None
    assert frames.values.grad.isfinite().all()


def test_attention_divides_by_the_root_of_the_whole_width() -> None:
    """Two frames, values and queries by hand: the softmax must see q.k / sqrt(8), not / sqrt(4)."""
    attention = small_style().attention
    frames = torch.randn(2, 8, dtype=torch.float64)
    found = attention(Frames(frames[None], torch.ones(1, 2, dtype=torch.bool))).values[0]
    assert_agrees(attention, found, slow_attention(attention, frames))


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel=4 must be odd"):
        StylePoolingConfig(kind="style", kernel=4)


def slow_style(pooling: StylePooling, frames: torch.Tensor) -> torch.Tensor:
    """Design notes 3.3 for one clip, a frame at a time."""

    def mish(x: torch.Tensor) -> torch.Tensor:
        return x * torch.tanh(torch.log1p(torch.exp(x)))

    first, second = pooling.spectral[0], pooling.spectral[3]
    x = torch.stack([mish(second.weight @ mish(first.weight @ f + first.bias) + second.bias) for f in frames])
    for block in pooling.temporal:
        weight, bias = block.conv.weight, block.conv.bias
        padded = torch.cat([x.new_zeros(2, 8), x, x.new_zeros(2, 8)])
        out = torch.stack([sum(weight[:, :, k] @ padded[t + k] for k in range(5)) + bias for t in range(len(x))])
        x = x + out[:, :8] * torch.sigmoid(out[:, 8:])
    x = slow_attention(pooling.attention, x)
    return torch.stack([pooling.out.weight @ f + pooling.out.bias for f in x]).mean(dim=0)


def slow_attention(attention: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    query, key, value = (layer(x) for layer in (attention.query, attention.key, attention.value))
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        rows = []
        for q in query[:, part]:
            weights = torch.stack([math.e ** (q @ k / math.sqrt(8)) for k in key[:, part]])
            rows.append((weights / weights.sum()) @ value[:, part])
        heads.append(torch.stack(rows))
    return x + attention.out(torch.cat(heads, dim=1))
