"""The log-mel encoder hears a clip the same at any level and in any company."""

from typing import Any

import pytest
import torch
from torchaudio.functional import melscale_fbanks

from emosphere.model.architecture import LogMelConfig
from emosphere.model.frames import Frames
from emosphere.model.logmel import LogMelEncoder, mel_bands
from tests.rounding import assert_close, num_terms, rounding_bound


def encoder(**settings: Any) -> LogMelEncoder:
    return LogMelEncoder(LogMelConfig(kind="logmel", num_mels=16, dim=8, num_blocks=2, **settings)).eval()


def sound(num_samples: int, hz: float = 440.0) -> torch.Tensor:
    times = torch.arange(num_samples) / 16_000
    return 0.3 * torch.sin(2 * torch.pi * hz * times) * (
        1.2 + torch.sin(2 * torch.pi * 3 * times)
    ) + 0.01 * torch.randn(num_samples)


def exact(**settings: Any) -> LogMelEncoder:
    return encoder(**settings).double()


def bound(net: LogMelEncoder, num_samples: int, dtype: torch.dtype = torch.float64) -> float:
    """On what rounding does to frames of a clip: its spectra, bands and layers, mean and deviation."""
    num_frames = num_samples // net.hop_samples
    return rounding_bound(dtype, net.window_samples + net.mel_bands.shape[0] + num_terms(net) + 2 * num_frames)


def test_a_tone_is_loudest_in_its_own_band() -> None:
    features = encoder().features(sound(16_000, 1000.0)[None], torch.tensor([16_000]))
    loudest = features.values[0].mean(dim=0).argmax()
    bands = encoder().mel_bands[round(1000 / 16_000 * 1024)]
    assert loudest == bands.argmax()


@pytest.mark.parametrize(("num_samples", "num_frames"), [(640, 1), (895, 1), (896, 2), (16_000, 61)])
def test_frames_stand_only_where_a_whole_window_fits(num_samples: int, num_frames: int) -> None:
    features = encoder().features(torch.zeros(1, num_samples), torch.tensor([num_samples]))
    assert features.values.shape[1] == int(features.is_valid.sum()) == num_frames


@pytest.mark.parametrize(
    ("low_hz", "high_hz", "num_bands"), [(60.0, 5000.0, 64), (0.0, 8000.0, 80), (20.0, 7600.0, 23)]
)
def test_bands_are_those_of_torchaudio(low_hz: float, high_hz: float, num_bands: int) -> None:
    wanted = melscale_fbanks(513, low_hz, high_hz, num_bands, 16_000)
    assert torch.equal(mel_bands(513, low_hz, high_hz, num_bands), wanted)


def test_mel_energies_agree_with_a_slow_transform() -> None:
    net, waveform = exact(), sound(2000).double()
    features = net.features(waveform[None], torch.tensor([2000])).values[0]
    for frame in (0, 3):
        window = waveform[frame * 256 : frame * 256 + 640] * torch.hann_window(640).double()
        # Whole turns are left out before they are multiplied: an angle of thousands has few digits left.
        turns = (torch.arange(513)[:, None] * torch.arange(640)[None] % 1024).double() / 1024
        cosine, sine = (wave(2 * torch.pi * turns) @ window for wave in (torch.cos, torch.sin))
        energy = cosine.square() + sine.square()
        assert_close(features[frame], torch.log(energy @ net.mel_bands + 1e-10), bound(net, 2000))


@pytest.mark.parametrize("spread", ["clip", "band"])
def test_level_does_not_matter(spread: str) -> None:
    net, waveform = encoder(spread=spread), sound(8000)[None]
    loud, soft = (net.features(gain * waveform, torch.tensor([8000])) for gain in (1.0, 0.05))
    assert_close(net(loud).values.detach(), net(soft).values.detach(), bound(net, 8000, torch.float32))


def test_normalised_bands_have_no_mean_and_the_clip_unit_deviation() -> None:
    net = exact()
    features = net.features(torch.stack([sound(9000), sound(9000, 200.0)]).double(), torch.tensor([9000, 5000]))
    values = net.normalise(features)
    for row in range(2):
        valid = values[row][features.is_valid[row]]  # the test sound never pauses
        assert valid.mean(dim=0).abs().max() < bound(net, 9000)
        assert 0.6 < float(valid.square().mean()) <= 1.0  # the constant in the divisor takes some away
    assert values[1][~features.is_valid[1]].abs().max() == 0


def test_silence_is_finite() -> None:
    net = encoder()
    frames = net(net.features(torch.zeros(1, 4000), torch.tensor([4000])))
    assert frames.values.isfinite().all()


def test_padding_is_never_heard() -> None:
    net = exact()
    features = net.features(torch.stack([sound(9000), sound(9000)]).double(), torch.tensor([9000, 5000]))
    spoilt = Frames(features.values.masked_fill(~features.is_valid[:, :, None], 50.0), features.is_valid)
    first, second = net(features), net(spoilt)
    assert_close(*(frames.values[frames.is_valid].detach() for frames in (second, first)), bound(net, 9000))


@pytest.mark.parametrize("num_samples", [640, 5000, 5200, 5500, 8999])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_clip_alone_and_in_a_batch_gives_the_same_frames(num_samples: int, dtype: torch.dtype) -> None:
    net = encoder().to(dtype)
    batch = torch.stack([sound(9000), sound(9000)]).to(dtype)
    batch[1, num_samples:] = 0
    together = net(net.features(batch, torch.tensor([9000, num_samples])))
    alone = net(net.features(batch[1:, :num_samples], torch.tensor([num_samples])))
    length = alone.values.shape[1]
    assert int(together.is_valid[1].sum()) == int(alone.is_valid.sum()) == length
    assert_close(together.values[1, :length].detach(), alone.values[0].detach(), bound(net, 9000, dtype))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kernel": 6}, "kernel=6 must be odd"),
        ({"channels": (16,)}, r"channels=\[16\] must be two numbers"),
        ({"channels": (16, 0)}, r"channels=\[16, 0\] must be two numbers, at least 1"),
        ({"stride": 0}, "stride=0 must be at least 1"),
        ({"low_hz": 5000.0, "high_hz": 4000.0}, "low_hz=5000.0 must be below high_hz=4000.0"),
    ],
)
def test_what_cannot_be_built_is_refused_with_its_reason(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LogMelConfig(kind="logmel", **settings)
