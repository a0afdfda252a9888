"""Self-supervised speech encoders (WavLM, wav2vec 2.0, HuBERT) with their convolutional front end frozen."""

from pathlib import Path
from typing import Any, Final, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.errors import BadCheckpoint
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.frames import Frames, standardise, validity

SIZES: Final[dict[str, dict[str, Any]]] = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "do_stable_layer_norm": True,
        "feat_extract_norm": "layer",
    },
}
"""Settings by which the published sizes differ from the defaults of transformers (which are the base sizes)."""


class PretrainedEncoder(nn.Module):
    """16 kHz waveforms to frames of 20 ms: the last hidden states of a transformer over frozen convolutions.

    L samples have ``floor((L - 400) / 320) + 1`` frames. Only the last layer is used, as in the paper.
    """

    min_samples = 400

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        import transformers  # seconds to import, and the log-mel encoder does without

        settings = SIZES[config.size] | config.settings
        architecture = transformers.AutoConfig.for_model(config.kind, **settings)
        self.config = config
        self.model = transformers.AutoModel.from_config(architecture)
        self.model.feature_extractor.requires_grad_(False)
        self.out_features: int = architecture.hidden_size
        self._kernels = list(zip(architecture.conv_kernel, architecture.conv_stride, strict=True))
        # GroupNorm here spans all frames, padding included, so such a front end must take each clip by itself.
        self.needs_single_clips: bool = architecture.feat_extract_norm == "group"

    def start_from(self, folder: str | Path) -> None:
        """Take over published weights: a folder with config.json and model.safetensors. Raises BadCheckpoint."""
        import transformers

        try:
            published = transformers.AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            raise BadCheckpoint(
                f"{folder}: no {self.config.kind} weights as safetensors there ({str(error).splitlines()[0]}); pickled "
                "weights (.bin) are not read: convert them once, with torch.load(..., weights_only=True)."
            ) from error
        shapes, wanted = _shapes(published), _shapes(self.model)
        if published.config.model_type != self.config.kind or shapes != wanted:
            odd = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
            raise BadCheckpoint(
                f"{folder}: holds {published.config.model_type}, which differs from {self.config.kind} "
                f"{self.config.size} in {len(odd)} tensors (first: {odd[:1]}); set kind, size and settings to match."
            )
        self.model.load_state_dict(published.state_dict())

    @torch.no_grad()
    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        """Features of the frozen convolutions, one frame per 20 ms. They see no padding: no kernel reaches past it."""
        waveforms = self.normalise(waveforms, num_samples)
        extract = self.model.feature_extractor
        num_frames = self.num_frames(num_samples)
        if not self.needs_single_clips:
            values = extract(waveforms).transpose(1, 2)
            return Frames(values, validity(num_frames, values.shape[1]))
        clips = [
            extract(waveform[None, : int(length)])[0].T for waveform, length in zip(waveforms, num_samples, strict=True)
        ]
        values = nn.utils.rnn.pad_sequence(clips, batch_first=True)
        return Frames(values, validity(num_frames, values.shape[1]))

    def forward(self, features: Frames) -> Frames:
        """Last hidden states; in training mode with the family's own dropout, layer drop and SpecAugment."""
        projected = self.model.feature_projection(features.values)
        # HuBERT returns the projection alone, the other families also its input.
        values = projected[0] if isinstance(projected, tuple) else projected
        values = self.model._mask_hidden_states(values, attention_mask=features.is_valid.long())
        values = self.model.encoder(values, attention_mask=features.is_valid).last_hidden_state
        return Frames(values, features.is_valid)

    def num_frames(self, num_samples: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """Frames of a waveform: each convolution, unpadded, leaves ``floor((n - kernel) / stride) + 1``."""
        for kernel, stride in self._kernels:
            num_samples = torch.div(num_samples - kernel, stride, rounding_mode="floor") + 1
        return num_samples

    def normalise(
        self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch sample"]:
        """Waveforms at the level that the weights know, zeros behind ``num_samples``."""
        if self.config.waveform_std is None:
            return standardise(waveforms, num_samples)
        scaled = (waveforms - self.config.waveform_mean) / (self.config.waveform_std + 1e-6)
        return scaled * validity(num_samples, waveforms.shape[1])


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(cast(Tensor, tensor).shape) for name, tensor in module.state_dict().items()}
