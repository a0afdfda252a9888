"""The network: encoder, pooling, heads. The file to read first."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emosphere.model.architecture import NetworkConfig
from emosphere.model.encoder import Encoder, build_encoder
from emosphere.model.frames import Frames
from emosphere.model.heads import Head
from emosphere.model.pooling import build_pooling


class Network(nn.Module):
    """Waveforms -> frames -> one vector per clip -> one answer per head, all heads in parallel.

    With ``members``, so many of these side by side behind one front end: a clip's vector is all of theirs in a row.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        width = cast(Encoder, self.encoder).out_features
        self.pooling = build_pooling(width, config.pooling)
        self.heads = nn.ModuleDict({name: Head(self.pooling.out_features, head) for name, head in config.heads.items()})
        single = dataclasses.replace(config, members=1)
        self.others = nn.ModuleList(Network(single) for _ in range(config.members - 1))

    @property
    def members(self) -> "list[Network]":
        """Itself, for its own encoder, pooling and heads, then the others."""
        return [self, *cast("Sequence[Network]", self.others)]

    @property
    def min_samples(self) -> int:
        """Shortest waveform that gives a frame; pad shorter ones with silence."""
        return cast(Encoder, self.encoder).min_samples

    def features(self, waveforms: Float[Tensor, "batch sample"], num_samples: Int[Tensor, "batch"]) -> Frames:
        """The encoder's fixed front end, without gradient. Waveforms: 16 kHz, zeros behind ``num_samples``."""
        return cast(Encoder, self.encoder).features(waveforms, num_samples)

    def embed(self, features: Frames, encoders: Sequence[Encoder] = ()) -> Float[Tensor, "batch feature"]:
        """One vector per clip; it does not depend on the other clips of the batch.

        ``encoders``, one for each of ``members``, take the place of their own.
        """
        encoders = encoders or [cast(Encoder, member.encoder) for member in self.members]
        vectors = [member.pooling(encoder(features)) for member, encoder in zip(self.members, encoders, strict=True)]
        return torch.cat(vectors, dim=1)

    def forward(self, features: Frames) -> dict[str, Float[Tensor, "batch output"]]:
        """Each head's answer, by its name, from what ``features`` gave: one per clip, whatever the members."""
        return self.answers(self.embed(features))

    def answers(self, vectors: Float[Tensor, "batch feature"]) -> dict[str, Float[Tensor, "batch output"]]:
        """Each head's answer, by its name, from what ``embed`` gave: the members' answers made one."""
        return {name: _agreed(name, answers) for name, answers in self.member_answers(vectors).items()}

    def member_answers(
        self, vectors: Float[Tensor, "batch feature"], *, detached: Collection[str] = frozenset()
    ) -> dict[str, Float[Tensor, "member batch output"]]:
        """Each head's answer, by its name, of every member for itself, in the order of ``members``.

        Training asks for these, since the targets are each member's own and not only their mean's. Heads named in
        ``detached`` send no gradient into pooling and encoder. Raises ValueError for vectors of another width than
        ``embed`` gives for all members.
        """
        if vectors.shape[1] != self.config.members * self.pooling.out_features:
            raise ValueError(f"a vector of {vectors.shape[1]} features is not what embed() gives for all members.")
        parts = list(zip(self.members, vectors.chunk(self.config.members, dim=1), strict=True))
        answers = {}
        for name in self.heads:
            answers[name] = torch.stack(
                [
                    cast(Head, member.heads[name])(vector.detach() if name in detached else vector)
                    for member, vector in parts
                ]
            )
        return answers


def _agreed(name: str, answers: Float[Tensor, "member batch output"]) -> Float[Tensor, "batch output"]:
    """The mean of the members' VAD, or the logits of the mean of their probabilities."""
    if len(answers) == 1:
        return answers[0]  # the logits as the head gave them
    return answers.mean(0) if name == "vad" else answers.log_softmax(2).logsumexp(0)
