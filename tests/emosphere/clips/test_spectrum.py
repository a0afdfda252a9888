"""Random changes to frames keep their shape, and mask what they should."""

import numpy as np
import pytest
import torch

from emosphere.clips.spectrum import SpectrumConfig, augment_bands, mask_runs, resample, trim_silence

STILL = SpectrumConfig(trim=0, tempo=0, warp=0, shift_bands=0, masked_frames=0, masked_bands=0, narrow=0)


def test_all_settings_at_zero_change_nothing() -> None:
    bands = torch.randn(50, 12)
    assert torch.equal(augment_bands(bands, 100, STILL, np.random.default_rng(0)), bands)


def test_a_long_clip_is_cut_to_a_stretch_of_itself() -> None:
    bands = torch.arange(50.0)[:, None].expand(50, 4)
    stretch = augment_bands(bands, 20, STILL, np.random.default_rng(0))
    assert stretch.shape == (20, 4)
    assert torch.equal(stretch[:, 0].diff(), torch.ones(19))


def test_silence_at_the_edges_is_cut_off() -> None:
    bands = torch.full((40, 4), -20.0)
    bands[10:30] = 0.0
    assert trim_silence(bands, margin=0).shape == (20, 4)
    assert trim_silence(bands, margin=3).shape == (26, 4)
    assert trim_silence(bands, margin=99).shape == (40, 4)


def test_tempo_shortens_and_a_shift_moves_bands() -> None:
    bands = torch.arange(6.0).expand(30, 6)
    assert resample(bands, tempo=1.5, stretch=1.0, shift=0.0).shape == (20, 6)
    moved = resample(bands, tempo=1.0, stretch=1.0, shift=1.5)
    assert moved[0].tolist() == [1.5, 2.5, 3.5, 4.5, 5.0, 5.0]


def test_masked_values_are_their_bands_mean() -> None:
    bands = torch.randn(100, 20)
    mean = bands.mean(dim=0)
    config = SpectrumConfig(masked_frames=20, masked_bands=5)
    changed = mask_runs(bands, config, np.random.default_rng(1))
    touched = changed != bands
    assert touched.any()
    torch.testing.assert_close(changed[touched], mean.expand(100, 20)[touched])


def test_the_same_seed_gives_the_same_version() -> None:
    """And leaves the original as it is."""
    bands = torch.randn(200, 16)
    before = bands.clone()
    one, two = (augment_bands(bands, 90, SpectrumConfig(), np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(bands, before)


@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_very_short_clips_survive(num_frames: int) -> None:
    for seed in range(20):
        changed = augment_bands(torch.randn(num_frames, 16), 95, SpectrumConfig(), np.random.default_rng(seed))
        assert len(changed) >= 1
        assert changed.isfinite().all()


def test_a_crop_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="shortest and a longest length"):
        SpectrumConfig(crop_frames=(0, 5))
