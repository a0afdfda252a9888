"""Thinning keeps what is slow, drops what is fast, and neither hears padding nor depends on where frames begin."""

import math

import pytest
import torch

from emosphere.model.frames import Frames, pad_frames, thin


def whole(values: torch.Tensor) -> Frames:
    return Frames(values[None], torch.ones(1, len(values), dtype=torch.bool))


@pytest.mark.parametrize("shape", [(3,), (3, 2)])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_thinning_agrees_with_a_slow_mean(stride: int, shape: tuple[int, ...]) -> None:
    sequences = [torch.randn(length, *shape) for length in (1, 2, 5, 17, 40)]
    frames = thin(pad_frames(sequences), stride)
    reach = 3 * stride // 2
    for row, sequence in enumerate(sequences):
        centres = range(0, len(sequence), stride)
        assert int(frames.is_valid[row].sum()) == len(centres)
        for place, centre in enumerate(centres):
            weights = {
                at: math.cos(math.pi * (at - centre) / (2 * reach)) ** 2
                for at in range(len(sequence))
                if abs(at - centre) < reach
            }
            expected = sum(weight * sequence[at] for at, weight in weights.items()) / sum(weights.values())
            torch.testing.assert_close(frames.values[row, place], expected)


def test_a_constant_stays_what_it_is_to_both_ends() -> None:
    torch.testing.assert_close(thin(whole(torch.full((23, 2), 1.7)), 4).values, torch.full((1, 6, 2), 1.7))


@pytest.mark.parametrize("every", [2, 4])
def test_what_is_too_fast_for_the_frames_left_does_not_come_back_as_something_slow(every: int) -> None:
    """A ripple that repeats every 2 or 4 frames would look constant at each fourth frame."""
    ripple = torch.cos(2 * torch.pi * torch.arange(64) / every)[:, None]
    assert ripple[::4].abs().min() == 1
    assert thin(whole(ripple), 4).values[0, 2:-2].abs().max() < 1e-5


def test_a_beginning_two_frames_later_is_heard_the_same() -> None:
    """Half a stride: the worst place. A slow swing keeps its strength, over five whole ones; a fast ripple adds none
    (thinned without the window it would add 0, 1 or -1 to all of it, as the beginning has it).
    """
    places = torch.arange(202)
    sound = (torch.sin(2 * torch.pi * places / 32) + torch.cos(2 * torch.pi * places / 4))[:, None]
    for begin in (0, 1, 2):
        features = thin(whole(sound[begin : begin + 200]), 4).values[0, 4:44]
        assert float(features.square().mean()) == pytest.approx(0.42, abs=0.02), begin
