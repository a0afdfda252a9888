"""The faster forward pass gives transformers' numbers: every family, structure, batch and length."""

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

TINY = TINY_ENCODER | {"num_hidden_layers": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
    "layer norm, norms after": {"feat_extract_norm": "layer"},
    "group norm, norms first, bias": {"do_stable_layer_norm": True, "conv_bias": True},
    "another grid, odd kernel, relu": {
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


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2", "hubert"])
def test_frames_are_those_of_transformers(kind: str, variant: str, lengths: list[int]) -> None:
    slow = tiny(kind, variant)
    fast = quicken(slow)
    assert isinstance(fast, FastEncoder)
    waveforms, num_samples = batch(lengths)
    with torch.no_grad():
        wanted_features = slow.features(waveforms, num_samples)
        features = fast.features(waveforms, num_samples)
        assert torch.equal(features.is_valid, wanted_features.is_valid)
        torch.testing.assert_close(valid(features), valid(wanted_features), rtol=1e-5, atol=1e-5)
        wanted = slow(wanted_features)
        found = fast(features)
    assert float(valid(wanted).std()) > 0.1
    torch.testing.assert_close(valid(found), valid(wanted), rtol=1e-5, atol=1e-5)


def test_transformers_whole_model_agrees_too() -> None:
    slow = tiny("wavlm", "large")
    waveforms, num_samples = batch([8_000, 8_000])
    fast = quicken(slow)
    with torch.no_grad():
        wanted = slow.model(slow.normalise(waveforms, num_samples)).last_hidden_state
    torch.testing.assert_close(fast(fast.features(waveforms, num_samples)).values, wanted, rtol=1e-5, atol=1e-5)


def test_an_encoder_in_which_hubert_does_not_normalise_its_features_is_heard_right() -> None:
    slow = tiny("hubert", feat_proj_layer_norm=False)
    given = batch([7_000, 3_000])
    fast = quicken(slow)
    with torch.no_grad():
        wanted = slow(slow.features(*given))
    torch.testing.assert_close(valid(fast(fast.features(*given))), valid(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["base", "large"])
def test_a_clip_alone_and_in_a_batch_gives_the_same_frames(variant: str) -> None:
    fast = quicken(tiny("wavlm", variant))
    # Seed 1 draws a frame that the large variant moves by 2e-5 when one last bit changes, on some processors.
    waveforms, num_samples = batch([9_000, 400, 4_321], seed=0)
    together = fast(fast.features(waveforms, num_samples))
    for row, length in enumerate(num_samples):
        alone = fast(fast.features(waveforms[row : row + 1, :length], num_samples[row : row + 1]))
        found = together.values[row, : alone.values.shape[1]]
        torch.testing.assert_close(found, alone.values[0], rtol=0, atol=1e-5)


def test_what_stands_in_the_padding_is_not_heard() -> None:
    fast = quicken(tiny("wavlm"))
    waveforms, num_samples = batch([9_000, 3_000])
    wanted = valid(fast(fast.features(waveforms, num_samples)))
    features = fast.features(waveforms, num_samples)
    features.values.masked_fill_(~features.is_valid[..., None], torch.nan)
    assert torch.equal(valid(fast(features)), wanted)


@pytest.mark.parametrize("variant", ["base", "large"])
def test_bfloat16_is_as_near_as_transformers_own_and_comes_back_in_float32(variant: str) -> None:
    slow = tiny("wavlm", variant)
    waveforms, num_samples = batch([9_000, 9_000])
    exact, near = quicken(slow), quicken(slow, "bfloat16")
    features = near.features(waveforms, num_samples)
    assert features.values.dtype == torch.bfloat16
    found, wanted = near(features).values, exact(exact.features(waveforms, num_samples)).values
    assert found.dtype == torch.float32
    with torch.no_grad():
        own = copy.deepcopy(slow.model).bfloat16()(slow.normalise(waveforms, num_samples).bfloat16()).last_hidden_state
    error, own_error = (float((each.float() - wanted).square().mean().sqrt()) for each in (found, own))
    assert 0 < error < own_error * 1.1
    assert error < 0.1 * float(wanted.std())


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
