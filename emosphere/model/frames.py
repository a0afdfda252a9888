"""Sequences of unequal length in one tensor, and what keeps the padding between them out of what is computed."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Frames(NamedTuple):
    """A padded batch of frame sequences. Valid frames come first; what padded frames hold has no meaning."""

    values: Float[Tensor, "batch frame *feature"]
    """One vector (or matrix) per frame."""
    is_valid: Bool[Tensor, "batch frame"]
    """False where a frame is padding."""


Features = dict[str, Frames]
"""What each stream's fixed front end made of some clips, by the stream's name."""
ClipFeatures = dict[str, Tensor]
"""The same of one clip: (frame, feature) by stream."""


def validity(num_frames: Int[Tensor, "batch"], longest: int) -> Bool[Tensor, "batch frame"]:
    """True for the first ``num_frames[i]`` of ``longest`` frames.

    >>> validity(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(longest, device=num_frames.device) < num_frames[:, None]


def silence_padding(frames: Frames) -> Float[Tensor, "batch frame *feature"]:
    """Values with zeros in the padded frames: needed before every convolution, which would mix them in."""
    mask = frames.is_valid.reshape(frames.is_valid.shape + (1,) * (frames.values.dim() - 2))
    return frames.values.masked_fill(~mask, 0.0)


def standardise(
    waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]
) -> Float[Tensor, "batch sample"]:
    """Zero mean and unit deviation over each item's own samples, zeros behind them."""
    is_sample = validity(num_samples, waveforms.shape[1])
    count = is_sample.sum(dim=1, keepdim=True)
    centred = waveforms - (waveforms * is_sample).sum(dim=1, keepdim=True) / count
    variance = (centred * is_sample).square().sum(dim=1, keepdim=True) / count
    return centred / (variance + 1e-7).sqrt() * is_sample


def mean_over_frames(frames: Frames) -> Float[Tensor, "batch feature"]:
    """Mean over the valid frames of each item."""
    return silence_padding(frames).sum(dim=1) / frames.is_valid.sum(dim=1, keepdim=True).clamp(min=1)


def pad_frames(sequences: list[Float[Tensor, "_ feature"]]) -> Frames:
    """Stack sequences of unequal length, zeros behind the shorter ones."""
    num_frames = torch.tensor([len(sequence) for sequence in sequences])
    values = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    return Frames(values, validity(num_frames, values.shape[1]).to(values.device))


def pad_clips(clips: list[ClipFeatures]) -> Features:
    """Stack clips of unequal length, stream by stream."""
    return {name: pad_frames([clip[name] for clip in clips]) for name in clips[0]}


def thin(frames: Frames, stride: int) -> Frames:
    """Every ``stride``-th frame, each the mean of the valid ones near it under a Hann window of three strides
    (rounded down to an even width; a stride of 1 leaves all as it is).

    Without the window, what moves faster than the frames left can follow would come back as something else, and a clip
    cut 16 ms later would be another clip to the network (Zhang 2019, "Making convolutional networks shift-invariant
    again", ICML).
    """
    reach = 3 * stride // 2
    places = torch.arange(1 - reach, reach, device=frames.values.device) / (2 * reach)
    window = torch.cos(torch.pi * places).square().to(frames.values.dtype)[None, None]
    is_valid = frames.is_valid[:, None].to(frames.values.dtype)
    weight = torch.nn.functional.conv1d(is_valid, window, stride=stride, padding=reach - 1)
    values = silence_padding(frames)
    # (batch, feature, frame, rest): with a matrix per frame that is how a convolution left it, so nothing is copied.
    grid = values.reshape(*values.shape[:3], -1).transpose(1, 2)
    kernel = window[..., None].expand(grid.shape[1], -1, -1, -1)
    total = torch.nn.functional.conv2d(grid, kernel, stride=(stride, 1), padding=(reach - 1, 0), groups=grid.shape[1])
    thinned = (total / weight[..., None].clamp(min=1e-6)).transpose(1, 2)
    return Frames(thinned.reshape(*thinned.shape[:2], *values.shape[2:]), frames.is_valid[:, ::stride])
