"""The shape of a network, in words that config.json and training settings use. Knows nothing of torch, which takes
seconds to import: whoever only reads a model's description does without.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Precision = Literal["float32", "bfloat16"]
"""Of a pretrained encoder in scoring."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMelConfig:
    """Log-mel spectrum, two convolutions over time and bands, thinning, then convolutions over time."""

    kind: Literal["logmel"]
    num_mels: int = 64
    """Mel bands (HTK scale)."""
    low_hz: float = 60.0
    """Lower edge of the lowest band."""
    high_hz: float = 7600.0
    """Upper edge of the highest band."""
    channels: tuple[int, int] = (16, 24)
    """Features per band after the first and the second convolution over time and bands; each halves the bands."""
    stride: int = 4
    """Frames (of 16 ms) from one that is kept to the next; each is a mean over some three strides."""
    dim: int = 144
    """Features per frame that leave the encoder."""
    num_blocks: int = 3
    """Residual convolutions over time."""
    kernel: int = 7
    """Frames (of 64 ms) that one of them sees."""
    dropout: float = 0.1
    """In each of them, while training."""
    spread: Literal["clip", "band"] = "clip"
    """Divide the centred spectrum by its deviation over the whole clip, or over each band of the clip."""

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} must be odd, so that frames keep their place.")
        if len(self.channels) != 2 or min(self.channels) < 1:
            raise ValueError(f"channels={list(self.channels)} must be two numbers, at least 1.")
        if self.stride < 1:
            raise ValueError(f"stride={self.stride} must be at least 1.")
        if not 0 <= self.low_hz < self.high_hz <= 8000:
            raise ValueError(f"low_hz={self.low_hz} must be below high_hz={self.high_hz}, both within 0..8000.")


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedConfig:
    """Which family and size; the weights themselves come from a folder when training starts."""

    kind: Literal["wavlm", "wav2vec2", "hubert"]
    size: Literal["base", "large"] = "large"
    """The paper's is WavLM at size large; base fits WavLM-Base+ too."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further settings of transformers' configuration class, above those of ``size``."""
    waveform_mean: float = 0.0
    """Subtracted from every sample, when ``waveform_std`` is given."""
    waveform_std: float | None = None
    """Every sample is divided by it: the deviation over a training corpus, as the paper does. None: zero mean and
    unit deviation within each clip."""


EncoderConfig = LogMelConfig | PretrainedConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class StylePoolingConfig:
    """Spectral layers, gated convolutions over time, self-attention, mean (EmoSphere-SER 2.2.2)."""

    kind: Literal["style"]
    dim: int = 1024
    """Width throughout."""
    num_heads: int = 2
    """Heads of the self-attention."""
    kernel: int = 5
    """Frames one gated convolution sees."""
    dropout: float = 0.1
    """Everywhere inside, the attention matrix included."""
    initial_gain: float = 1.0
    """Initial weights of the linear layers are PyTorch's times this. 1 as published, where pretrained frames come in;
    about 2 keeps the differences between clips alive through them when all is trained from scratch."""

    def __post_init__(self) -> None:
        if self.dim % self.num_heads:
            raise ValueError(f"dim={self.dim} must be a multiple of num_heads={self.num_heads}.")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} must be odd, so that frames keep their place.")


@dataclass(frozen=True, kw_only=True, slots=True)
class StatisticsPoolingConfig:
    """Attentive mean and deviation over time: the ablation "without style pooling"."""

    kind: Literal["statistics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanPoolingConfig:
    """Mean over time, nothing to learn."""

    kind: Literal["mean"]


PoolingConfig = StylePoolingConfig | StatisticsPoolingConfig | MeanPoolingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """One question put to the clip's vector."""

    outputs: int
    """Numbers it answers with: 3 for VAD, the number of regions for region logits."""
    hidden: int = 1024
    """Width of the layer between."""
    dropout: float = 0.5
    """Before each of its two linear layers."""
    norm: Literal["layer", "none"] = "layer"
    """LayerNorm after the first linear layer, or nothing."""
    activation: Literal["relu", "tanh"] = "relu"
    """After that, before the second linear layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """The parts of a network; each part's ``kind`` chooses its form."""

    encoder: EncoderConfig
    pooling: PoolingConfig
    heads: dict[str, HeadConfig]
    """By name. ``vad`` is the regression (V, A, D, centred), ``region`` the region logits; others are auxiliary."""
    members: int = 1
    """Networks of this form side by side, whose answers are averaged. While they learn, each answers for itself."""

    def __post_init__(self) -> None:
        if "vad" not in self.heads or self.heads["vad"].outputs != 3:
            raise ValueError("heads needs one named 'vad' with outputs=3: valence, arousal, dominance.")
        if self.members < 1:
            raise ValueError(f"members={self.members} must be at least 1.")
        if self.members > 1 and isinstance(self.encoder, PretrainedConfig):
            raise ValueError(
                f"members={self.members} with a pretrained encoder: members differ by the dice that they start from, "
                'and these would start alike; they are for kind = "logmel".'
            )

    @property
    def num_regions(self) -> int:
        """Outputs of the region head; 0 without one."""
        return self.heads["region"].outputs if "region" in self.heads else 0
