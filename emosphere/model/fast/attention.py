"""Self-attention as one fused call: plain for wav2vec 2.0 and HuBERT, with a gated relative bias for WavLM."""

import math
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class Attention:
    """One layer's attention. Query, key, value and, for WavLM, the two gates come from a single product."""

    def __init__(self, attention: nn.Module, dtype: torch.dtype) -> None:
        module = cast(Any, attention)
        self._num_heads = int(module.num_heads)
        parts = [module.q_proj, module.k_proj, module.v_proj]
        weights, biases = [part.weight.detach() for part in parts], [part.bias.detach() for part in parts]
        self._gate_scale: Tensor | None = None
        if hasattr(module, "gru_rel_pos_linear"):
            weight, bias = _gates(module.gru_rel_pos_linear, self._num_heads)
            weights.append(weight)
            biases.append(bias)
            self._gate_scale = module.gru_rel_pos_const.detach().to(dtype).reshape(self._num_heads, 1)
        self._widths = [len(weight) for weight in weights]
        self._weight, self._bias = torch.cat(weights).to(dtype), torch.cat(biases).to(dtype)
        self._out = module.out_proj.weight.detach().to(dtype), module.out_proj.bias.detach().to(dtype)

    def __call__(
        self,
        values: Float[Tensor, "batch frame feature"],
        position_bias: Float[Tensor, "head frame frame"] | None,
        is_valid: Bool[Tensor, "batch frame"] | None,
    ) -> Float[Tensor, "batch frame feature"]:
        """``position_bias``: of :func:`position_bias_of`, for WavLM. ``is_valid``: None where no frame is padding."""
        query, key, value, *gates = nn.functional.linear(values, self._weight, self._bias).split_with_sizes(
            self._widths, dim=-1
        )
        shape = (*values.shape[:2], self._num_heads, -1)
        query, key, value = (part.view(shape).transpose(1, 2) for part in (query, key, value))
        mask = None if is_valid is None else is_valid[:, None, None, :]
        if gates and position_bias is not None and self._gate_scale is not None:
            # (batch, frame, 2 x head) to two of (batch, head, frame)
            gate_a, gate_b = gates[0].sigmoid().transpose(1, 2).chunk(2, dim=1)
            gate = gate_a * (gate_b * self._gate_scale - 1.0) + 2.0
            bias = gate[..., None] * position_bias
            mask = bias if mask is None else bias.masked_fill_(~mask, -torch.inf)
        heads = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return nn.functional.linear(heads.transpose(1, 2).flatten(2), *self._out)


def _gates(linear: nn.Linear, num_heads: int) -> tuple[Tensor, Tensor]:
    """Weight (2 x head, feature) and bias (2 x head) of both gates for all heads.

    Each head's own features go through one linear layer of 8 outputs, of which the first four and the last four are
    summed: the sums of its weights do as well.
    """
    weight = linear.weight.detach().view(2, 4, -1).sum(dim=1)
    bias = linear.bias.detach().view(2, 4).sum(dim=1)
    own = torch.eye(num_heads, dtype=weight.dtype, device=weight.device)
    # (gate, head, head of the feature, feature): zero where the two heads differ.
    blocks = weight[:, None, None, :] * own[None, :, :, None]
    return blocks.reshape(2 * num_heads, -1), bias.repeat_interleave(num_heads)


def position_bias_of(
    embedding: Float[Tensor, "bucket head"], num_frames: int, *, max_distance: int
) -> Float[Tensor, "head frame frame"]:
    """WavLM's bias by head, query and key, before the gate: all layers and clips of this length share it.

    A Toeplitz matrix: the bucket depends on ``key - query`` alone, so buckets are looked up once per distance.
    """
    distance = torch.arange(1 - num_frames, num_frames, device=embedding.device)
    by_distance = embedding[buckets_of(distance, num_buckets=len(embedding), max_distance=max_distance)].T
    # Row q begins at distance -q, which stands at num_frames - 1 - q.
    return by_distance.contiguous().unfold(1, num_frames, 1).flip(1).contiguous()


def buckets_of(distance: Int[Tensor, "n"], *, num_buckets: int, max_distance: int) -> Int[Tensor, "n"]:
    """Half of the buckets for each sign; in each half one per distance at first, then logarithmically wider ones.

    Formula 5 of WavLM (Chen et al. 2022), with the rounding of the published code.

    >>> buckets_of(torch.tensor([-900, -1, 0, 1, 79, 80, 900]), num_buckets=320, max_distance=800).tolist()
    [159, 1, 0, 161, 239, 240, 319]
    """
    half = num_buckets // 2
    exact = half // 2
    size = distance.abs()
    large = torch.log(size.float() / exact) / math.log(max_distance / exact) * (half - exact)
    large = (exact + large).long().clamp(max=half - 1)
    return (distance > 0).long() * half + torch.where(size < exact, size, large)
