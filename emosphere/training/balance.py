"""How the terms of a loss are weighed against each other while they are learnt: the table ``[fit.balance]``."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class BalanceConfig:
    """Which weights stand before the terms, beside their own."""

    KINDS: ClassVar[dict[str, type["BalanceConfig"]]] = {}
    """By what a table calls it."""

    kind: str

    def build(self, names: Sequence[str]) -> "Balance":
        """The balance of the terms ``names``, as it is before anything was learnt."""
        raise NotImplementedError


class Balance(nn.Module):
    """Terms to a loss. What it learns has the heads' rate and no decay; its state is kept with that of the fit."""

    def forward(self, terms: Mapping[str, Tensor], unlabelled: Collection[str] = frozenset()) -> Float[Tensor, ""]:
        """The loss of weighted terms, by name; a term may be absent.

        ``unlabelled``: terms of 0 because no clip has a label for them, which says nothing of how well they are learnt.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class NoBalanceConfig(BalanceConfig):
    """The terms' own weights, nothing else."""

    kind: Literal["none"] = "none"

    def build(self, names: Sequence[str]) -> Balance:
        return Sum()


@dataclass(frozen=True, kw_only=True, slots=True)
class UncertaintyConfig(BalanceConfig):
    """All weights learnt, ``exp(-s) term + s`` (Kendall et al. 2018)."""

    kind: Literal["uncertainty"] = "uncertainty"

    def build(self, names: Sequence[str]) -> Balance:
        return LearntWeights(names)


BalanceConfig.KINDS.update({"none": NoBalanceConfig, "uncertainty": UncertaintyConfig})


class Sum(Balance):
    """Sum of the terms."""

    def forward(self, terms: Mapping[str, Tensor], unlabelled: Collection[str] = frozenset()) -> Float[Tensor, ""]:
        return torch.stack(list(terms.values())).sum()


class LearntWeights(Balance):
    """Weights of the terms by their uncertainty: ``sum exp(-s) term + s``, one learnt ``s`` per term, 0 at first.

    Kendall, Gal and Cipolla (CVPR 2018), with ``s`` the logarithm of a term's variance.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def forward(self, terms: Mapping[str, Tensor], unlabelled: Collection[str] = frozenset()) -> Float[Tensor, ""]:
        """The loss; a term that is absent takes its ``s`` with it, one that is unlabelled leaves it as it is."""
        parts = []
        for name, term in terms.items():
            s = self.log_variances[name]
            weighted = torch.exp(-s) * term
            parts.append(weighted if name in unlabelled else weighted + s)
        return torch.stack(parts).sum()
