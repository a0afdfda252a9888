"""The transformer over the frames: positional convolution, then layers of attention and two linear maps."""

from typing import Any, Final, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from emosphere.model.fast.activation import activation_of
from emosphere.model.fast.attention import Attention, position_bias_of
from emosphere.model.fast.norm import Norm

NARROW_GROUP: Final = 16
"""Fewer channels per group than this, and a bfloat16 convolution may be wrong on a CPU."""


class Transformer:
    """The ``encoder`` of transformers' model, norms before or after (``do_stable_layer_norm``) as it was built."""

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        module = cast(Any, encoder)
        config = module.config
        self._norm_first = bool(config.do_stable_layer_norm)
        self._position = _PositionalConvolution(module.pos_conv_embed, dtype)
        self._norm = Norm(module.layer_norm, dtype)
        self._layers = [_Layer(layer, self._norm_first, dtype) for layer in module.layers]
        self._embedding: Tensor | None = None
        if config.model_type == "wavlm":
            self._embedding = module.layers[0].attention.rel_attn_embed.weight.detach().to(dtype)
            self._max_distance = int(config.max_bucket_distance)
        self._bias: Tensor | None = None

    def __call__(
        self, values: Float[Tensor, "batch frame feature"], is_valid: Bool[Tensor, "batch frame"] | None
    ) -> Float[Tensor, "batch frame feature"]:
        """Last hidden states. ``is_valid``: None where no frame is padding. Overwrites ``values``."""
        if is_valid is not None:
            values.masked_fill_(~is_valid[..., None], 0.0)
        values = self._position(values).add_(values)
        if not self._norm_first:
            values = self._norm(values)
        bias = self._position_bias(values.shape[1])
        for layer in self._layers:
            values = layer(values, bias, is_valid)
        return self._norm(values) if self._norm_first else values

    def _position_bias(self, num_frames: int) -> Tensor | None:
        """Kept for the last length: windows of one length follow each other. Other threads may want other lengths."""
        if self._embedding is None:
            return None
        bias = self._bias
        if bias is None or bias.shape[1] != num_frames:
            bias = self._bias = position_bias_of(self._embedding, num_frames, max_distance=self._max_distance)
        return bias


class _PositionalConvolution:
    """A grouped convolution as long as 2.5 s; its weight norm is worked out once."""

    def __init__(self, embedding: Any, dtype: torch.dtype) -> None:
        conv = embedding.conv
        # Not rounding: with AMX, oneDNN's result is another one altogether (pytorch issue 163347). Published encoders
        # have 48 or 64 channels per group, so this costs only small ones of one's own.
        if dtype == torch.bfloat16 and conv.weight.shape[1] < NARROW_GROUP and conv.weight.device.type == "cpu":
            dtype = torch.float32
        self._weight, self._bias = conv.weight.detach().to(dtype), conv.bias.detach().to(dtype)
        self._padding, self._groups = int(conv.padding[0]), int(conv.groups)
        self._drop_last = int(conv.kernel_size[0]) % 2 == 0
        self._activate = activation_of(embedding.activation)

    def __call__(self, values: Float[Tensor, "batch frame feature"]) -> Float[Tensor, "batch frame feature"]:
        given = values.to(self._weight.dtype).transpose(1, 2)
        moved = nn.functional.conv1d(given, self._weight, self._bias, padding=self._padding, groups=self._groups)
        moved = moved[..., :-1] if self._drop_last else moved
        return self._activate(moved.transpose(1, 2).contiguous().to(values.dtype))


class _Layer:
    def __init__(self, layer: Any, norm_first: bool, dtype: torch.dtype) -> None:
        feed = layer.feed_forward
        self._norm_first = norm_first
        self._attention = Attention(layer.attention, dtype)
        self._norm, self._final_norm = Norm(layer.layer_norm, dtype), Norm(layer.final_layer_norm, dtype)
        self._wide, self._narrow = (
            (part.weight.detach().to(dtype), part.bias.detach().to(dtype))
            for part in (feed.intermediate_dense, feed.output_dense)
        )
        self._activate = activation_of(feed.intermediate_act_fn)

    def __call__(self, values: Tensor, position_bias: Tensor | None, is_valid: Tensor | None) -> Tensor:
        if self._norm_first:
            values = values + self._attention(self._norm(values), position_bias, is_valid)
            return values.add_(self._feed(self._final_norm(values)))
        values = self._norm(self._attention(values, position_bias, is_valid).add_(values))
        return self._final_norm(self._feed(values).add_(values))

    def _feed(self, values: Tensor) -> Tensor:
        return nn.functional.linear(self._activate(nn.functional.linear(values, *self._wide)), *self._narrow)
