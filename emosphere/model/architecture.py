"""The shape of a network, in words that config.json and training settings use. Knows nothing of torch, which takes
seconds to import: whoever only reads a model's description does without.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from emosphere.region_names import REGION_NAMES
from emosphere.tasks import Task, tasks_of

Precision = Literal["float32", "bfloat16"]
"""Of a pretrained encoder in scoring."""


SPEECH: Final = "speech"
"""What the stream of a network is called that has one and no reason to call it otherwise."""
CLIP: Final = "clip"
"""What a head reads that answers from the clip's vector."""
RESERVED: Final = frozenset({CLIP, "streams", "pooling", "head", "heads"})
"""Names that no stream or head may have: settings and figures mean something else by them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamConfig:
    """One way in which a clip is heard: from its waveform to frames."""

    KINDS: ClassVar[dict[str, type["StreamConfig"]]] = {}
    """By what a table calls it."""

    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMelConfig(StreamConfig):
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
class PretrainedConfig(StreamConfig):
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


@dataclass(frozen=True, kw_only=True, slots=True)
class WaveformConfig(StreamConfig):
    """Convolutions over the samples themselves, trained from scratch: wav2vec 2.0's front end, smaller."""

    kind: Literal["waveform"]
    channels: int = 64
    """Features after each convolution, and of a frame (of 20 ms)."""

    def __post_init__(self) -> None:
        if self.channels < 2:
            raise ValueError(f"channels={self.channels} must be at least 2: a layer norm makes one of them 0.")


StreamConfig.KINDS.update(
    {
        "logmel": LogMelConfig,
        "wavlm": PretrainedConfig,
        "wav2vec2": PretrainedConfig,
        "hubert": PretrainedConfig,
        "waveform": WaveformConfig,
    }
)


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
class FusionConfig:
    """How the streams of a clip become its one vector."""

    KINDS: ClassVar[dict[str, type["FusionConfig"]]] = {}
    """By what a table calls it."""
    least_streams: ClassVar[int] = 1
    """Streams without which there is nothing to fuse in this way."""

    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstFusionConfig(FusionConfig):
    """The vector of the first stream: others only serve heads that read their frames."""

    kind: Literal["first"] = "first"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConcatFusionConfig(FusionConfig):
    """The vectors of all streams in a row."""

    kind: Literal["concat"] = "concat"


@dataclass(frozen=True, kw_only=True, slots=True)
class CoAttentionFusionConfig(FusionConfig):
    """Each stream's frames attended to as the other streams' vectors ask, beside all vectors."""

    least_streams: ClassVar[int] = 2

    kind: Literal["co-attention"] = "co-attention"
    dim: int = 128
    """Width of what each stream's vector and its attended frames become."""
    num_heads: int = 4
    """Heads of each attention."""
    dropout: float = 0.1
    """Of the attention matrix, while training."""

    def __post_init__(self) -> None:
        if self.num_heads < 1 or self.dim < 1 or self.dim % self.num_heads:
            raise ValueError(f"dim={self.dim} must be a multiple of num_heads={self.num_heads}.")


FusionConfig.KINDS.update(
    {"first": FirstFusionConfig, "concat": ConcatFusionConfig, "co-attention": CoAttentionFusionConfig}
)


def _outputs_are_the_labels(value: Any) -> str:
    advice = f"A head has as many outputs as its label has dimensions or classes: leave `outputs = {value}` out."
    if value in REGION_NAMES:
        advice += f' Where it counts regions, `[labels.region]` says `kind = "region"` and `regions = {value}`.'
    return advice


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """One question put to the clip. It has as many outputs as its label has dimensions or classes."""

    REPLACED: ClassVar[Mapping[str, Callable[[Any], str]]] = {"outputs": _outputs_are_the_labels}
    """Settings of earlier versions."""

    label: str = ""
    """Which of ``[labels]`` it answers; empty: the one of its own name."""
    reads: str = CLIP
    """`clip`: the clip's vector; or the name of a stream, whose frames it answers one by one."""
    hidden: int = 1024
    """Width of the layer between."""
    dropout: float = 0.5
    """Before each of its two linear layers."""
    norm: Literal["layer", "none"] = "layer"
    """LayerNorm after the first linear layer, or nothing."""
    activation: Literal["relu", "tanh"] = "relu"
    """After that, before the second linear layer."""


def _encoder_is_a_stream(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, Mapping) else value
    return f'Call the table `[network.streams.speech]`, with kind = "{kind}" and all else as it is.'


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """The parts of a network; each part's ``kind`` chooses its form."""

    REPLACED: ClassVar[Mapping[str, Callable[[Any], str]]] = {"encoder": _encoder_is_a_stream}
    """Settings of earlier versions."""

    streams: dict[str, StreamConfig]
    """By name: every way in which a clip is heard."""
    pooling: PoolingConfig
    """Of every stream."""
    heads: dict[str, HeadConfig]
    """By name: every question put to the clip."""
    fusion: FusionConfig | None = None
    """How several streams become the clip's one vector; absent with one."""
    members: int = 1
    """Networks of this form side by side, whose answers are averaged. While they learn, each answers for itself."""

    def __post_init__(self) -> None:
        if not self.streams:
            raise ValueError("streams names none; add [network.streams.speech] with a kind.")
        if not self.heads:
            raise ValueError("heads names none; add [network.heads.vad], or another question.")
        for name in (*self.streams, *self.heads):
            if "." in name or not name:
                raise ValueError(f"{name!r} cannot be the name of a stream or a head: it is empty, or holds a dot.")
        if taken := RESERVED & {*self.streams, *self.heads}:
            raise ValueError(f"{', '.join(sorted(taken))} cannot name a stream or a head: it means something else.")
        if len(self.streams) > 1 and self.fusion is None:
            kinds = ", ".join(FusionConfig.KINDS)
            raise ValueError(
                f"streams names {', '.join(self.streams)}; say by [network.fusion] kind = one of {kinds} how they "
                "become one vector."
            )
        if self.fusion is not None and len(self.streams) < self.fusion.least_streams:
            raise ValueError(
                f"fusion.kind={self.fusion.kind!r} needs {self.fusion.least_streams} streams or more, and there is "
                f"only {', '.join(self.streams)}; add another, or leave [network.fusion] out."
            )
        for name, head in self.heads.items():
            if head.reads not in (CLIP, *self.streams):
                raise ValueError(
                    f"heads.{name}.reads={head.reads!r} is neither {CLIP!r} nor a stream: {', '.join(self.streams)}."
                )
        if self.members < 1:
            raise ValueError(f"members={self.members} must be at least 1.")
        if self.members > 1 and any(isinstance(stream, PretrainedConfig) for stream in self.streams.values()):
            raise ValueError(
                f"members={self.members} with a pretrained encoder: members differ by the dice that they start from, "
                'and these would start alike; they are for streams of kind = "logmel" or "waveform".'
            )

    @property
    def labels_of_heads(self) -> dict[str, str]:
        """Name of the label that each head answers."""
        return {name: head.label or name for name, head in self.heads.items()}

    def tasks(self, labels: Mapping[str, Task]) -> dict[str, Task]:
        """What each head answers, of the ``labels`` by name. Raises ValueError where a head cannot answer its label."""
        tasks = tasks_of(self.labels_of_heads, labels)
        for name, task in tasks.items():
            if name in Task.KINDS and task.kind != name:
                raise ValueError(
                    f"heads.{name} answers labels of kind {task.kind!r}; a head called {name!r} answers those of kind "
                    f"{name!r}, so call it otherwise."
                )
            reads = self.heads[name].reads
            if (reads == CLIP) != (task.level == "clip"):
                wanted = f"{CLIP!r}" if task.level == "clip" else f"the frames of a stream: {', '.join(self.streams)}"
                raise ValueError(
                    f"heads.{name}.reads={reads!r}, but a head that answers labels of kind {task.kind!r} reads "
                    f"{wanted}."
                )
        return tasks
