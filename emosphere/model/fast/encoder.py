"""Which encoders have a faster forward pass, and that pass as a whole."""

from typing import Any, Final, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emosphere.model.architecture import Precision
from emosphere.model.encoder import Encoder
from emosphere.model.fast.front_end import CPU_TILE_FRAMES, FrontEnd
from emosphere.model.fast.layers import Transformer
from emosphere.model.fast.norm import Norm
from emosphere.model.frames import Frames, validity
from emosphere.model.pretrained import PretrainedEncoder

DTYPES: Final[dict[Precision, torch.dtype]] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def quicken(encoder: Encoder, precision: Precision = "float32") -> Encoder:
    """The same function as ``encoder`` in eval mode, faster; ``encoder`` itself where there is nothing to gain.

    It holds the weights as they are now: make another after training on. ``precision`` is that of the convolutions, the
    transformer and their weights; frames come out in float32. No gradient flows, and encoders other than pretrained
    ones, which are small, stay in float32.
    """
    if not isinstance(encoder, PretrainedEncoder):
        return encoder
    config = cast(Any, encoder.model).config
    # Two rare parts that no published model of these sizes has: left to transformers.
    if getattr(config, "conv_pos_batch_norm", False) or getattr(config, "adapter_attn_dim", None) is not None:
        return encoder
    return FastEncoder(encoder, DTYPES[precision])


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products have instructions of their own there; without, they are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class FastEncoder:
    """A :class:`PretrainedEncoder` for scoring: prepared weights, no autograd, no work that dropout would need."""

    def __init__(self, encoder: PretrainedEncoder, dtype: torch.dtype = torch.float32) -> None:
        model = cast(Any, encoder.model)
        self._encoder = encoder
        self._dtype = dtype
        self.out_features = encoder.out_features
        self.min_samples = encoder.min_samples
        with torch.no_grad():
            on_cpu = next(encoder.parameters()).device.type == "cpu"
            tile_frames = CPU_TILE_FRAMES if on_cpu else None
            self._front_end = FrontEnd(model.feature_extractor, dtype=dtype, tile_frames=tile_frames)
            projection = model.feature_projection
            self._norm = Norm(projection.layer_norm, dtype) if hasattr(projection, "layer_norm") else None
            self._projection = tuple(
                part.detach().to(dtype) for part in (projection.projection.weight, projection.projection.bias)
            )
            self._transformer = Transformer(model.encoder, dtype)

    @torch.no_grad()
    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        """As :meth:`PretrainedEncoder.features`; in this encoder's precision."""
        values = self._front_end(self._encoder.normalise(waveforms, num_samples), num_samples)
        return Frames(values, validity(self._encoder.num_frames(num_samples), values.shape[1]))

    @torch.no_grad()
    def __call__(self, features: Frames) -> Frames:
        """As :meth:`PretrainedEncoder.forward` in eval mode; float32."""
        values = features.values if self._norm is None else self._norm(features.values)
        values = torch.nn.functional.linear(values, *self._projection)
        is_valid = None if bool(features.is_valid.all()) else features.is_valid
        values = self._transformer(values, is_valid)
        return Frames(values.to(torch.promote_types(self._dtype, torch.float32)), features.is_valid)
