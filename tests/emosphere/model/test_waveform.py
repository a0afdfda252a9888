"""The waveform encoder: frames by counting, by a slow twin, alone and in company, in 16 bits and as a graph."""

from typing import Any

import pytest
import torch

from emosphere.model.architecture import WaveformConfig
from emosphere.model.encoder import build_encoder
from emosphere.model.frames import Frames
from emosphere.model.waveform import KERNELS, STRIDES, WaveformEncoder
from tests.rounding import assert_close, num_terms, rounding_bound


def encoder(**settings: Any) -> WaveformEncoder:
    return WaveformEncoder(WaveformConfig(kind="waveform", channels=8, **settings)).eval()


def bound(net: WaveformEncoder, num_samples: int, dtype: torch.dtype) -> float:
    """On what rounding does to frames: mean and deviation over a clip, and every layer."""
    return rounding_bound(dtype, num_terms(net) + 2 * num_samples)


@pytest.mark.parametrize(
    ("num_samples", "num_hops"), [(640, 2), (959, 2), (960, 3), (16_000, 50), (16_319, 50), (192_000, 600)]
)
def test_a_clip_is_cut_into_whole_hops_and_has_a_frame_for_each_but_the_last(num_samples: int, num_hops: int) -> None:
    net = encoder()
    features = net.features(torch.randn(1, num_samples), torch.tensor([num_samples]))
    assert features.values.shape == (1, num_hops, 320)
    assert int(features.is_valid.sum()) == num_hops
    frames = net(features)
    assert frames.values.shape == (1, num_hops - 1, 8)
    assert int(frames.is_valid.sum()) == num_hops - 1
    # As many as there are places for 400 samples, every 320, among the whole hops.
    assert num_hops - 1 == (320 * num_hops - 400) // 320 + 1


def test_the_shortest_waveform_has_a_frame_and_a_shorter_one_none() -> None:
    net = encoder()
    assert net.min_samples == 640
    assert net(net.features(torch.randn(1, 640), torch.tensor([640]))).is_valid.tolist() == [[True]]
    assert net.features(torch.randn(1, 700), torch.tensor([639])).is_valid[:, 1:].tolist() == [[False]]


def test_hops_are_the_levelled_clip() -> None:
    waveform = 0.01 * torch.randn(1, 5000).double() + 0.3
    features = encoder().features(waveform, torch.tensor([4000]))
    own = waveform[0, :4000]
    expected = (own - own.mean()) / (own.var(correction=0) + 1e-7).sqrt()
    torch.testing.assert_close(features.values[0, :12].flatten(), expected[:3840])
    assert features.is_valid.tolist() == [[True] * 12 + [False] * 3]
    assert (features.values[0, 13:] == 0).all()  # behind the clip


def test_level_and_offset_of_a_clip_are_not_heard() -> None:
    net, waveform = encoder().double(), torch.randn(1, 4000).double()
    frames = [net(net.features(given, torch.tensor([4000]))) for given in (waveform, 3 * waveform + 0.2)]
    torch.testing.assert_close(frames[0].values, frames[1].values, rtol=0, atol=1e-6)  # 1e-7 is added to the variance


def test_it_agrees_with_a_slow_twin() -> None:
    """A frame from its 400 samples alone, a place at a time."""
    net = encoder().double()
    features = net.features(torch.randn(1, 1300).double(), torch.tensor([1300]))
    samples = features.values[0].flatten()
    assert len(samples) == 1280
    frames = net(features).values[0]
    assert len(frames) == 3
    for place, frame in enumerate(frames):
        values = [sample[None] for sample in samples[320 * place : 320 * place + 400]]
        for conv, norm, kernel, stride in zip(net.convs, net.norms, KERNELS, STRIDES, strict=True):
            after = []
            for begin in range(0, len(values) - kernel + 1, stride):
                summed = conv.bias.clone()
                for offset in range(kernel):
                    summed = summed + conv.weight[:, :, offset] @ values[begin + offset]
                normal = (summed - summed.mean()) / (summed.var(correction=0) + norm.eps).sqrt()
                normal = normal * norm.weight + norm.bias
                after.append(normal * 0.5 * (1 + torch.erf(normal / 2**0.5)))
            values = after
        assert len(values) == 1
        assert_close(frame.detach(), values[0].detach(), bound(net, 0, torch.float64))


@pytest.mark.parametrize("num_samples", [640, 959, 5000, 5120, 8999])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_clip_alone_and_in_a_batch_gives_the_same_frames(num_samples: int, dtype: torch.dtype) -> None:
    net, batch = encoder().to(dtype), torch.randn(2, 9000, dtype=dtype)
    batch[1, num_samples:] = 0
    together = net(net.features(batch, torch.tensor([9000, num_samples])))
    alone = net(net.features(batch[1:, :num_samples], torch.tensor([num_samples])))
    length = alone.values.shape[1]
    assert int(together.is_valid[1].sum()) == int(alone.is_valid.sum()) == length
    found = together.values[1, :length].detach()
    assert_close(found, alone.values[0].detach(), bound(net, 9000, dtype))


def test_padding_is_never_heard() -> None:
    net = encoder().double()
    features = net.features(torch.randn(2, 9000).double(), torch.tensor([9000, 5000]))
    spoilt = Frames(features.values.masked_fill(~features.is_valid[:, :, None], 50.0), features.is_valid)
    first, second = net(features), net(spoilt)
    assert torch.equal(first.values[first.is_valid], second.values[second.is_valid])


def test_silence_is_finite_and_has_a_gradient() -> None:
    net = encoder()
    frames = net(net.features(torch.zeros(1, 4000), torch.tensor([4000])))
    assert frames.values.isfinite().all()
    frames.values.square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in net.parameters())


def test_features_may_be_kept_in_16_bits() -> None:
    """As a training keeps them: a click of full scale in a quiet clip is still far below the largest number."""
    net, waveform = encoder(), 1e-3 * torch.randn(1, 192_000)
    waveform[0, 100_000] = 1.0
    features = net.features(waveform, torch.tensor([192_000]))
    kept = Frames(features.values.half().float(), features.is_valid)
    assert kept.values.isfinite().all()
    assert features.values.abs().max() > 100
    found, wanted = net(kept).values.detach(), net(features).values.detach()
    assert_close(found, wanted, rounding_bound(torch.float16, 400))


def test_only_the_learned_part_learns() -> None:
    net = encoder()
    features = net.features(torch.randn(1, 2000, requires_grad=True), torch.tensor([2000]))
    assert not features.values.requires_grad
    assert sum(tensor.numel() for tensor in net.parameters()) == (10 + 4 * 3 * 8 + 2 * 2 * 8) * 8 + 7 * 3 * 8


def test_it_is_built_from_its_settings() -> None:
    built = build_encoder(WaveformConfig(kind="waveform"))
    assert isinstance(built, WaveformEncoder)
    assert built.out_features == 64
    with pytest.raises(ValueError, match="channels=1 must be at least 2"):
        WaveformConfig(kind="waveform", channels=1)
