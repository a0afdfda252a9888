"""Self-supervised encoders with small random weights: frame counts, batching, what is frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch

from emosphere.errors import BadCheckpoint
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.pretrained import PretrainedEncoder
from tests.encoders import TINY
from tests.rounding import assert_close, num_terms, rounding_bound

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


def tiny(kind: str = "wavlm", size: str = "large", **settings: Any) -> PretrainedEncoder:
    return PretrainedEncoder(PretrainedConfig(kind=kind, size=size, settings=TINY, **settings)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2", "hubert"])
def test_a_clip_alone_and_in_a_batch_gives_the_same_frames(kind: str, size: str) -> None:
    encoder = tiny(kind, size).double()
    lengths = torch.tensor([9000, 400, 4321])
    batch = torch.randn(3, 9000, dtype=torch.float64)
    bound = rounding_bound(torch.float64, num_terms(encoder, 2 * 27))  # two layers attend to at most 27 frames
    for row, length in enumerate(lengths):
        batch[row, length:] = 0
    with torch.no_grad():
        together = encoder(encoder.features(batch, lengths))
        for row, length in enumerate(lengths):
            alone = encoder(encoder.features(batch[row : row + 1, :length], lengths[row : row + 1]))
            num_frames = alone.values.shape[1]
            assert int(together.is_valid[row].sum()) == num_frames == (int(length) - 400) // 320 + 1
            assert_close(together.values[row, :num_frames], alone.values[0], bound)


@pytest.mark.parametrize(("num_samples", "num_frames"), [(400, 1), (719, 1), (720, 2), (16_000, 49), (192_000, 599)])
def test_frames_are_counted_as_the_convolutions_make_them(num_samples: int, num_frames: int) -> None:
    assert int(tiny().num_frames(torch.tensor([num_samples]))) == num_frames


def test_the_front_end_never_learns_and_the_rest_does() -> None:
    encoder = tiny()
    frozen = {name for name, tensor in encoder.named_parameters() if not tensor.requires_grad}
    assert frozen
    assert all(name.startswith("model.feature_extractor.") for name in frozen)
    assert len(frozen) < len(list(encoder.parameters()))


def test_a_corpus_scale_replaces_each_clips_own() -> None:
    encoder = tiny(waveform_mean=0.5, waveform_std=2.0)
    waveform = torch.randn(1, 2000)
    by_hand = encoder.model.feature_extractor((waveform - 0.5) / (2.0 + 1e-6)).transpose(1, 2)
    torch.testing.assert_close(encoder.features(waveform, torch.tensor([2000])).values, by_hand)


def test_published_weights_are_taken_over_from_a_folder(tmp_path: Path) -> None:
    other = tiny()
    other.model.save_pretrained(tmp_path)
    encoder = tiny()
    encoder.start_from(tmp_path)
    for one, two in zip(encoder.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_weights_of_another_family_are_refused_by_name(tmp_path: Path) -> None:
    tiny("hubert").model.save_pretrained(tmp_path)
    with pytest.raises(BadCheckpoint, match="holds hubert, which differs from wavlm large"):
        tiny("wavlm").start_from(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="no wavlm weights as safetensors there"):
        tiny().start_from(tmp_path)


def test_wavlm_large_has_the_published_shape() -> None:
    with torch.device("meta"):
        encoder = PretrainedEncoder(PretrainedConfig(kind="wavlm"))
    assert encoder.out_features == 1024
    assert 315e6 < sum(tensor.numel() for tensor in encoder.parameters()) < 316e6
