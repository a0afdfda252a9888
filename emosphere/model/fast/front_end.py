"""The convolutions from waveform to frames of 20 ms, as matrix products over views of what is there already.

Channels come last, so that ``stride`` successive rows are one row of a matrix without a copy: a convolution of kernel 3
and stride 2 over C channels is one product of width 2 C and one of width C, the latter a row further. Rows of several
clips lie behind each other in one matrix; the few that straddle two clips are computed and never read.
"""

import math
from typing import Any, Final, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.fast.activation import Activation, activation_of
from emosphere.model.fast.norm import Norm
from emosphere.model.frames import validity

CPU_TILE_FRAMES: Final = 64
"""Frames that go through all layers at once on a CPU: the widest result (4,096 rows) then stays near its caches."""


class FrontEnd:
    """Frozen convolutions, with weights copied in the layout and precision that they are used in."""

    def __init__(self, extractor: nn.Module, *, dtype: torch.dtype, tile_frames: int | None = CPU_TILE_FRAMES) -> None:
        """``extractor``: transformers' ``feature_extractor``. ``tile_frames``: None takes whole batches at once."""
        modules = [cast(Any, module) for module in cast(Any, extractor).conv_layers]
        self._kernels = [(int(layer.conv.kernel_size[0]), int(layer.conv.stride[0])) for layer in modules]
        self._tile_frames = tile_frames
        self._dtype = dtype
        # The first layer is a thousandth of the work and hears the samples themselves: never below float32.
        self._first = _First(modules[0], torch.promote_types(dtype, torch.float32))
        self._rest = [_Layer(layer, dtype) for layer in modules[1:]]
        self._stride = math.prod(stride for _, stride in self._kernels)
        self._reach = 1 + sum(
            (kernel - 1) * math.prod(stride for _, stride in self._kernels[:depth])
            for depth, (kernel, _) in enumerate(self._kernels)
        )
        """Samples that one frame hears."""

    def __call__(
        self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch frame feature"]:
        """Features; frames past a clip's own hold no meaning. Every clip has samples for at least one frame."""
        num_frames = (waveforms.shape[1] - self._reach) // self._stride + 1
        weights = self._first.weights(waveforms, num_samples)
        tile = self._tile_frames or num_frames
        features = waveforms.new_zeros(len(waveforms), num_frames, self._rest[-1].out_channels, dtype=self._dtype)
        # A tile needs whole strides of samples: its last frame reaches into the stride after its own, and further.
        slack = (math.ceil(self._reach / self._stride) * self._stride) + self._kernels[0][0]
        waveforms = nn.functional.pad(waveforms, (0, slack))
        ends = ((num_samples - self._reach) // self._stride + 1).tolist() if self._tile_frames else None
        clips = max(1, tile // num_frames)
        for row in range(0, len(waveforms), clips):
            rows = slice(row, min(row + clips, len(waveforms)))
            for frame in range(0, num_frames if ends is None else max(ends[rows]), tile):
                count = min(tile, num_frames - frame)
                features[rows, frame : frame + count] = self._tile(waveforms[rows], weights, rows, frame, count)
        return features

    def _tile(
        self, waveforms: Tensor, weights: tuple[Tensor, Tensor], rows: slice, frame: int, count: int
    ) -> Float[Tensor, "batch frame feature"]:
        """Frames ``frame`` to ``frame + count`` of these clips."""
        slots = count - 1 + math.ceil(self._reach / self._stride)
        kernel, stride = self._kernels[0]
        begin = frame * self._stride
        steps = slots * self._stride // stride
        windows = waveforms[:, begin : begin + (steps - 1) * stride + kernel].unfold(1, kernel, stride)
        values = self._first(windows, weights, rows).to(self._dtype).flatten(0, 1)
        for layer in self._rest:
            values = layer(values)
        return values.view(-1, slots, values.shape[1])[:, :count]


class _First:
    """Layer 0: one channel in, so its windows are copied out (ten numbers each) and multiplied clip by clip."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._weight = layer.conv.weight.detach().to(dtype)[:, 0].T.contiguous()
        self._bias = None if layer.conv.bias is None else layer.conv.bias.detach().to(dtype)
        self._stride = int(layer.conv.stride[0])
        norm = getattr(layer, "layer_norm", None)
        self._group_norm: tuple[Tensor, Tensor, float] | None = None
        if isinstance(norm, nn.GroupNorm):
            self._group_norm = norm.weight.detach().double(), norm.bias.detach().double(), norm.eps
        self._layer_norm = Norm(norm, dtype) if isinstance(norm, nn.LayerNorm) else None
        self._activate: Activation = activation_of(layer.activation)

    def weights(self, waveforms: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Kernel (batch or 1, tap, channel) and bias (batch or 1, 1, channel), a group norm folded into them.

        A group norm of one channel per group needs each channel's mean and variance over a clip's own frames. With w
        the taps of a channel, m and C the mean and covariance of the windows that it sees, they are ``w m`` and
        ``w C w``: no pass over the result, and padding is left out exactly. In float64, for a channel may well reject
        nearly all of what is loud in a clip.
        """
        weight, channels = self._weight, self._weight.shape[1]
        if self._group_norm is None:
            bias = weight.new_zeros(channels) if self._bias is None else self._bias
            return weight[None], bias[None, None]
        kernel = len(weight)
        windows = waveforms.double().unfold(1, kernel, self._stride)
        counts = torch.div(num_samples - kernel, self._stride, rounding_mode="floor") + 1
        is_valid = validity(counts, windows.shape[1]).unsqueeze(2)
        counts = counts[:, None, None]
        mean = (windows * is_valid).sum(dim=1, keepdim=True) / counts
        centred = (windows - mean) * is_valid
        covariance = centred.transpose(1, 2) @ centred / counts
        taps = weight.double()
        variance = (taps * (covariance @ taps)).sum(dim=1, keepdim=True).clamp(min=0)
        norm_weight, norm_bias, eps = self._group_norm
        scale = norm_weight / (variance + eps).sqrt()
        # The convolution's own bias moves the mean as much as the values: it cancels.
        bias = norm_bias - scale * (mean @ taps)
        return (taps * scale).to(self._dtype), bias.to(self._dtype)

    def __call__(self, windows: Tensor, weights: tuple[Tensor, Tensor], rows: slice) -> Tensor:
        weight, bias = (part if len(part) == 1 else part[rows] for part in weights)
        if len(weight) == len(windows):
            values = torch.baddbmm(bias, windows, weight)
        else:
            values = nn.functional.linear(windows, weight[0].T, bias[0, 0])
        if self._layer_norm is not None:
            values = self._layer_norm(values)
        return self._activate(values)


class _Layer:
    """A convolution of many channels, its layer norm if it has one, its activation."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        self._stride = int(layer.conv.stride[0])
        self.out_channels = int(layer.conv.out_channels)
        # (out, in, tap) to (tap x in, out), cut after every ``stride`` taps.
        taps = layer.conv.weight.detach().permute(2, 1, 0)
        self._pieces = [piece.flatten(0, 1).to(dtype).contiguous() for piece in taps.split(self._stride)]
        self._bias = None if layer.conv.bias is None else layer.conv.bias.detach().to(dtype)
        self._norm = Norm(layer.layer_norm, dtype) if hasattr(layer, "layer_norm") else None
        self._activate: Activation = activation_of(layer.activation)

    def __call__(self, values: Float[Tensor, "row channel"]) -> Float[Tensor, "step channel"]:
        steps = values.view(-1, self._stride * values.shape[1])
        first = self._pieces[0]
        own = steps[:, : len(first)]
        convolved = own @ first if self._bias is None else torch.addmm(self._bias, own, first)
        for shift, piece in enumerate(self._pieces[1:], start=1):
            convolved[:-shift].addmm_(steps[shift:, : len(piece)], piece)
        if self._norm is not None:
            convolved = self._norm(convolved)
        return self._activate(convolved)
