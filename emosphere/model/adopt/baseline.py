"""The network of the MSP-Podcast challenge baselines, however its parts are filed: encoder, pooling, regression.

Everything but the encoder's family follows from the shapes of the tensors. Both encoders that the baselines know are of
size large, which normalises before each layer; no tensor shows that.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from emosphere.errors import BadCheckpoint
from emosphere.model.adopt.layout import to_centred
from emosphere.model.adopt.tensors import place, shape_of
from emosphere.model.architecture import (
    SPEECH,
    HeadConfig,
    MeanPoolingConfig,
    NetworkConfig,
    PretrainedConfig,
    StatisticsPoolingConfig,
)
from emosphere.model.network import Network
from emosphere.tasks.vad import VAD

SSL, POOL, SER = "ssl_model.", "pool_model.", "ser_model."
ENCODERS: Final = ("microsoft/wavlm-large", "facebook/wav2vec2-large-robust")
"""What the baselines' scripts can start from."""
_HEAD_DIM = 64
"""Features per attention head in both encoders."""


def rebuild(tensors: dict[str, Tensor], *, mean: float, std: float, source: Path) -> Network:
    """The network of ``tensors``, named as in the published whole; raises BadCheckpoint where they do not fit.

    ``mean`` and ``std`` are the waveform's over the training corpus.
    """
    if not std > 0:
        raise BadCheckpoint(f"{source}: std={std} must be above 0: the deviation of the training waveforms.")
    tensors = dict(tensors)
    pools = any(name.startswith(POOL) for name in tensors)
    hidden = shape_of(tensors, f"{SER}fc.0.0.weight", source=source)[0]
    for part in ("weight", "bias"):
        outputs = shape_of(tensors, f"{SER}out.0.{part}", source=source)[0]
        if outputs != 3:
            raise BadCheckpoint(f"{source}: answers {outputs} numbers; wanted 3: arousal, dominance, valence.")
    if any(name.startswith(f"{SER}fc.1.") for name in tensors):
        raise BadCheckpoint(f"{source}: its regression has several hidden layers; the published ones have one.")
    tensors[f"{SER}out.0.weight"], tensors[f"{SER}out.0.bias"] = to_centred(
        tensors[f"{SER}out.0.weight"], tensors[f"{SER}out.0.bias"]
    )
    names = {
        f"streams.{SPEECH}.model.": SSL,
        f"heads.{VAD}.layers.1.": f"{SER}fc.0.0.",
        f"heads.{VAD}.layers.2.": f"{SER}fc.0.1.",
        f"heads.{VAD}.layers.5.": f"{SER}out.0.",
    }
    if pools:
        names |= {f"poolings.{SPEECH}.hidden.": f"{POOL}sap_linear.", f"poolings.{SPEECH}.score": f"{POOL}attention"}
        score = f"{POOL}attention"
        if shape_of(tensors, score, source=source)[1:] == (1,):
            tensors[score] = tensors[score][:, 0]
    network = Network(
        NetworkConfig(
            streams={SPEECH: _encoder(tensors, mean=mean, std=std, source=source)},
            pooling=StatisticsPoolingConfig(kind="statistics") if pools else MeanPoolingConfig(kind="mean"),
            heads={VAD: HeadConfig(hidden=hidden)},
        )
    )
    place(network, tensors, names, source=source)
    return network.eval()


def _encoder(tensors: Mapping[str, Tensor], *, mean: float, std: float, source: Path) -> PretrainedConfig:
    def shape(name: str) -> tuple[int, ...]:
        return tuple(shape_of(tensors, SSL + name, source=source))

    hidden = shape("feature_projection.projection.weight")[0]
    first = "encoder.layers.0.attention."
    is_wavlm = f"{SSL}{first}gru_rel_pos_const" in tensors
    convolutions = [shape(f"feature_extractor.conv_layers.{index}.conv.weight") for index in range(7)]
    positional = shape("encoder.pos_conv_embed.conv.parametrizations.weight.original1")
    settings: dict[str, Any] = {
        "hidden_size": hidden,
        "num_hidden_layers": _count(tensors, rf"{SSL}encoder\.layers\.(\d+)\."),
        "num_attention_heads": shape(f"{first}gru_rel_pos_const")[1] if is_wavlm else max(1, hidden // _HEAD_DIM),
        "intermediate_size": shape("encoder.layers.0.feed_forward.intermediate_dense.weight")[0],
        "conv_dim": [channels for channels, _, _ in convolutions],
        "conv_kernel": [kernel for _, _, kernel in convolutions],
        "conv_bias": f"{SSL}feature_extractor.conv_layers.0.conv.bias" in tensors,
        "num_conv_pos_embeddings": positional[2],
        "num_conv_pos_embedding_groups": hidden // positional[1],
    }
    if is_wavlm:
        settings["num_buckets"] = shape(f"{first}rel_attn_embed.weight")[0]
    return PretrainedConfig(
        kind="wavlm" if is_wavlm else "wav2vec2", size="large", settings=settings, waveform_mean=mean, waveform_std=std
    )


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    matches = (re.match(pattern, name) for name in tensors)
    return len({match.group(1) for match in matches if match})
