"""The faster forward pass gives transformers' numbers: every family, structure, batch and length.

Whether it is the same function is asked in float64, where a wrong term cannot hide behind rounding; float32 and
bfloat16 are then held against float64. Bounds are those of ``tests/rounding.py``.
"""

import copy
from typing import Any

import pytest
import torch

from emosphere.model.architecture import LogMelConfig, PretrainedConfig
from emosphere.model.encoder import build_encoder
from emosphere.model.fast.encoder import FastEncoder, has_fast_bfloat16, quicken
from emosphere.model.frames import Frames
from emosphere.model.pretrained import PretrainedEncoder
from tests.encoders import TINY as TINY_ENCODER
from tests.rounding import assert_close, deviation, gain_of_norms, num_layers, num_terms, rounding_bound

TINY = TINY_ENCODER | {"num_hidden_layers": 3}
ODD_GRID = "another grid, odd kernel, relu"
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
    "layer norm, norms after": {"feat_extract_norm": "layer"},
    "group norm, norms first, bias": {"do_stable_layer_norm": True, "conv_bias": True},
    ODD_GRID: {
        "conv_kernel": [7, 5, 2, 1],
        "conv_stride": [3, 2, 2, 1],
        "conv_dim": [8, 6, 4, 6],
        "num_conv_pos_embeddings": 7,
        "hidden_act": "relu",
        "feat_extract_activation": "gelu_new",
    },
}
LENGTHS = {
    "equal": [6_000, 6_000],
    "padded": [9_000, 400, 4_321, 719, 720],
    "alone": [5_000],
    "longer": [41_000, 30_000],
}
PUBLISHED_WIDTH = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "num_hidden_layers": 1,
}
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


def tiny(kind: str, variant: str = "base", **settings: Any) -> PretrainedEncoder:
    torch.manual_seed(3)
    config = PretrainedConfig(kind=kind, size="base", settings=TINY | VARIANTS[variant] | settings)  # type: ignore[arg-type]
    encoder = PretrainedEncoder(config).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            # As built, norms are the identity and WavLM's bias is nearly nothing: then half of this would test nothing.
            parameter.add_(torch.randn_like(parameter), alpha=1.0 if "rel_attn_embed" in name else 0.1)
    return encoder


def batch(lengths: list[int], seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    waveforms = torch.randn(len(lengths), max(lengths), generator=generator)
    for waveform, length in zip(waveforms, lengths, strict=True):
        waveform[length:] = 0
    return waveforms, torch.tensor(lengths)


def valid(frames: Frames) -> torch.Tensor:
    return frames.values[frames.is_valid]


def in_float64(slow: PretrainedEncoder) -> tuple[PretrainedEncoder, FastEncoder]:
    """transformers' pass and the faster one, over the same weights."""
    exact = copy.deepcopy(slow).double()
    return exact, FastEncoder(exact, torch.float64)


def bound(slow: PretrainedEncoder, frames: Frames, dtype: torch.dtype) -> float:
    """On what rounding to ``dtype`` does to frames."""
    return rounding_bound(dtype, num_terms(slow, len(slow.model.encoder.layers) * frames.values.shape[1]))


def bound_of_features(slow: PretrainedEncoder, waveforms: torch.Tensor, dtype: torch.dtype) -> float:
    """A group norm sums over all that the first convolution finds in a clip."""
    front_end = slow.model.feature_extractor
    num_summed = waveforms.shape[1] // slow.model.config.conv_stride[0] if slow.needs_single_clips else 0
    return rounding_bound(dtype, num_terms(front_end) + num_summed, gain_of_norms(front_end))


def assert_same_function(slow: PretrainedEncoder, waveforms: torch.Tensor, num_samples: torch.Tensor) -> None:
    """The faster pass of ``slow`` gives its features and its frames."""
    exact, fast = in_float64(slow)
    single = quicken(slow)
    assert isinstance(single, FastEncoder)
    with torch.no_grad():
        wanted_features = exact.features(waveforms.double(), num_samples)
        wanted = exact(wanted_features)
    assert float(valid(wanted).std()) > 0.1
    for encoder, dtype in ((fast, torch.float64), (single, torch.float32)):
        features = encoder.features(waveforms.to(dtype), num_samples)
        assert torch.equal(features.is_valid, wanted_features.is_valid)
        assert_close(valid(features), valid(wanted_features), bound_of_features(slow, waveforms, dtype))
        found = encoder(features)
        assert found.values.dtype == dtype
        assert_close(valid(found), valid(wanted), bound(slow, wanted, dtype))


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2", "hubert"])
def test_frames_are_those_of_transformers(kind: str, variant: str, lengths: list[int]) -> None:
    if variant == ODD_GRID and max(lengths) > 10_000:
        lengths = [length // 4 for length in lengths]  # of its many frames a quarter is enough to attend to
    assert_same_function(tiny(kind, variant), *batch(lengths))


def test_transformers_whole_model_agrees_too() -> None:
    slow = tiny("wavlm", "large")
    exact, fast = in_float64(slow)
    waveforms, num_samples = batch([8_000, 8_000])
    waveforms = waveforms.double()
    with torch.no_grad():
        wanted = exact.model(exact.normalise(waveforms, num_samples)).last_hidden_state
    found = fast(fast.features(waveforms, num_samples))
    assert_close(found.values, wanted, bound(slow, found, torch.float64))


def test_hubert_without_a_norm_over_its_features_is_the_same_function() -> None:
    assert_same_function(tiny("hubert", feat_proj_layer_norm=False), *batch([7_000, 3_000]))


@pytest.mark.parametrize("variant", ["base", "large"])
def test_a_clip_alone_and_in_a_batch_gives_the_same_frames(variant: str) -> None:
    slow = tiny("wavlm", variant)
    for fast, dtype in ((in_float64(slow)[1], torch.float64), (FastEncoder(slow), torch.float32)):
        waveforms, num_samples = batch([9_000, 400, 4_321])
        waveforms = waveforms.to(dtype)
        together = fast(fast.features(waveforms, num_samples))
        alone = [
            fast(fast.features(waveforms[row : row + 1, :length], num_samples[row : row + 1])).values[0]
            for row, length in enumerate(num_samples)
        ]
        assert_close(valid(together), torch.cat(alone), bound(slow, together, dtype))


def test_what_stands_in_the_padding_is_not_heard() -> None:
    fast = quicken(tiny("wavlm"))
    waveforms, num_samples = batch([9_000, 3_000])
    wanted = valid(fast(fast.features(waveforms, num_samples)))
    features = fast.features(waveforms, num_samples)
    features.values.masked_fill_(~features.is_valid[..., None], torch.nan)
    assert torch.equal(valid(fast(features)), wanted)


@pytest.mark.parametrize("settings", [{}, PUBLISHED_WIDTH], ids=["narrow", "published width"])
@pytest.mark.parametrize("variant", ["base", "large"])
def test_bfloat16_moves_frames_by_rounding_alone(variant: str, settings: dict[str, int]) -> None:
    """And they come back in float32.

    On processors with AMX oneDNN convolves narrow groups wrongly, wide ones rightly: all have to be right here.
    """
    slow = tiny("wavlm", variant, **settings)
    waveforms, num_samples = batch([9_000, 9_000])
    exact, near = in_float64(slow)[1], quicken(slow, "bfloat16")
    features = near.features(waveforms, num_samples)
    assert features.values.dtype == torch.bfloat16
    found, wanted = near(features).values, exact(exact.features(waveforms.double(), num_samples)).values
    assert found.dtype == torch.float32
    assert deviation(found, wanted) > 0
    assert_close(found, wanted, rounding_bound(torch.bfloat16, 2 * num_layers(slow)))


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning")
@pytest.mark.parametrize("variant", ["base", "large"])
def test_bfloat16_is_as_near_as_transformers_own(variant: str) -> None:
    slow = tiny("wavlm", variant)
    waveforms, num_samples = batch([9_000, 9_000])
    exact, near = in_float64(slow)[1], quicken(slow, "bfloat16")
    wanted = exact(exact.features(waveforms.double(), num_samples)).values
    # Without oneDNN: see above.
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        own = copy.deepcopy(slow.model).bfloat16()(slow.normalise(waveforms, num_samples).bfloat16()).last_hidden_state
    assert_close(near(near.features(waveforms, num_samples)).values, wanted, 1.1 * deviation(own.float(), wanted))


def test_the_module_it_was_made_of_is_left_as_it_was() -> None:
    slow = tiny("wavlm")
    before = {name: tensor.clone() for name, tensor in slow.state_dict().items()}
    fast = quicken(slow, "bfloat16")
    fast(fast.features(*batch([9_000, 4_321])))
    assert before.keys() == slow.state_dict().keys()
    assert all(torch.equal(tensor, slow.state_dict()[name]) for name, tensor in before.items())
    assert all(parameter.grad_fn is None for parameter in slow.parameters())


def test_a_small_encoder_and_rare_parts_are_left_to_themselves() -> None:
    small = build_encoder(LogMelConfig(kind="logmel", num_mels=16, dim=8, num_blocks=1))
    assert quicken(small) is small  # type: ignore[arg-type,comparison-overlap]
    rare = tiny("hubert", conv_pos_batch_norm=True)
    assert quicken(rare) is rare


def test_what_the_machine_is_fast_at_is_known_for_its_cpu() -> None:
    assert has_fast_bfloat16(torch.device("cpu")) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
