"""The network: streams, pooling, fusion, heads. The file to read first."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import CLIP, NetworkConfig
from emosphere.model.encoder import Encoder, Streams
from emosphere.model.frames import Features, Frames
from emosphere.model.fusion import Fusion, build_fusion
from emosphere.model.heads import Head
from emosphere.model.pooling import build_pooling
from emosphere.tasks import Task

Encoders = Mapping[str, Encoder]
"""The encoder of each stream, by its name."""


class Embedding(NamedTuple):
    """What one member made of some clips, for its heads to read."""

    vector: Float[Tensor, "batch feature"]
    """One per clip."""
    frames: dict[str, Frames]
    """By stream."""


class Network(nn.Module):
    """Waveforms -> frames of every stream -> one vector per clip -> one answer per head, all heads in parallel.

    With ``members``, so many of these side by side behind one front end.
    """

    def __init__(self, config: NetworkConfig, tasks: Mapping[str, Task] | None = None) -> None:
        """``tasks``: what each head answers; None: as the heads' names say."""
        super().__init__()
        self.config = config
        self.tasks = config.tasks({}) if tasks is None else dict(tasks)
        self.streams = Streams(config.streams)
        widths = {name: encoder.out_features for name, encoder in self.encoders.items()}
        self.poolings = nn.ModuleDict({name: build_pooling(width, config.pooling) for name, width in widths.items()})
        self.fusion = build_fusion(
            config.fusion, widths, {name: cast(int, pooling.out_features) for name, pooling in self.poolings.items()}
        )
        widths[CLIP] = cast(Fusion, self.fusion).out_features
        self.heads = nn.ModuleDict(
            {name: Head(widths[head.reads], self.tasks[name].outputs, head) for name, head in config.heads.items()}
        )
        single = dataclasses.replace(config, members=1)
        self.others = nn.ModuleList(Network(single, self.tasks) for _ in range(config.members - 1))

    @property
    def encoders(self) -> Encoders:
        """Its own."""
        return self.streams.encoders

    @property
    def members(self) -> "list[Network]":
        """Itself, for its own streams, pooling and heads, then the others."""
        return [self, *cast("Sequence[Network]", self.others)]

    @property
    def min_samples(self) -> int:
        """Shortest waveform that gives every stream a frame; pad shorter ones with silence."""
        return self.streams.min_samples

    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Features:
        """The streams' fixed front ends, without gradient. Waveforms: 16 kHz, zeros behind ``num_samples``."""
        return self.streams.features(waveforms, num_samples)

    def embed(self, features: Features, encoders: Sequence[Encoders] = ()) -> list[Embedding]:
        """Of each of ``members``; a clip's does not depend on the other clips of the batch.

        ``encoders``, those of each member, take the place of their own.
        """
        encoders = encoders or [member.encoders for member in self.members]
        return [member._embedding(features, own) for member, own in zip(self.members, encoders, strict=True)]

    def forward(self, features: Features) -> dict[str, Float[Tensor, "batch output"]]:
        """Each head's answer, by its name, from what ``features`` gave: one per clip, whatever the members."""
        return self.answers(self.embed(features))

    def answers(self, embeddings: Sequence[Embedding]) -> dict[str, Float[Tensor, "batch output"]]:
        """Each head's answer, by its name, from what ``embed`` gave: the members' answers made one, per clip."""
        answers: dict[str, Tensor] = {}
        for name, (values, is_valid) in self.member_answers(embeddings).items():
            agreed = values[0] if len(values) == 1 else self.tasks[name].agree(values)
            answers[name] = agreed if is_valid is None else self.tasks[name].summarise(agreed, is_valid)
        return answers

    def member_answers(
        self, embeddings: Sequence[Embedding], *, detached: Collection[str] = frozenset()
    ) -> dict[str, "HeadAnswers"]:
        """Each head's answers, by its name, of every member for itself, in the order of ``members``.

        Training asks for these, since the targets are each member's own and not only their mean's. Heads named in
        ``detached`` send no gradient into what they read.
        """
        answers = {}
        for name, head in self.config.heads.items():
            is_valid = None if head.reads == CLIP else embeddings[0].frames[head.reads].is_valid
            read = [own.vector if is_valid is None else own.frames[head.reads].values for own in embeddings]
            values = [
                cast(Head, member.heads[name])(values.detach() if name in detached else values)
                for member, values in zip(self.members, read, strict=True)
            ]
            answers[name] = HeadAnswers(torch.stack(values), is_valid)
        return answers

    def _embedding(self, features: Features, encoders: Encoders) -> Embedding:
        frames = {name: encoder(features[name]) for name, encoder in encoders.items()}
        vectors = {name: self.poolings[name](own) for name, own in frames.items()}
        return Embedding(cast(Fusion, self.fusion)(vectors, frames), frames)


class HeadAnswers(NamedTuple):
    """What every member's head of one name gave."""

    values: Float[Tensor, "member batch *frame output"]
    """One answer per clip, or one per frame."""
    is_valid: Tensor | None
    """(batch, frame): False where a frame is padding; None where the head reads the clip's vector."""
