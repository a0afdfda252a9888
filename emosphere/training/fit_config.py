"""Settings of a fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from emosphere.training.balance import BalanceConfig, NoBalanceConfig
from emosphere.training.first_settings import WITHOUT_A_LOSS, concordance_of_today, loss_of_today
from emosphere.training.terms import Concordance, Term

STREAMS: Final = "streams"
PARTS: Final = (STREAMS, "pooling", "heads")
"""Parts of a network that may have a learning rate of their own, beside single streams by their names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How a network is fitted."""

    REPLACED: ClassVar[Mapping[str, Callable[[Any], str]]] = {
        "loss": loss_of_today,
        "concordance": concordance_of_today,
    }
    """Settings of earlier versions."""

    terms: dict[str, Term] = field(default_factory=dict)
    """By name: what the heads are held to. The loss is their weighted sum."""
    balance: BalanceConfig = field(default_factory=NoBalanceConfig)
    """Further weights of the terms, which follow from how the training goes."""
    epochs: int = 20
    """Rounds over the training clips."""
    batch_size: int = 32
    """Clips of a batch, of all workers together."""
    accumulate: int = 1
    """Batches per update of the weights."""
    micro_batch_size: int | None = None
    """Clips that go through the network at once, per worker; None: its whole share of a batch. Saves memory."""
    pool_batches: int = 1
    """Batches whose clips are sorted by length before they are dealt out, so that like lengths meet; 1: none."""
    learning_rate: float = 1e-5
    """AdamW's, at its highest."""
    learning_rates: dict[str, float] = field(default_factory=dict)
    """Other rates for parts of the network: streams, one stream by its name, pooling (with fusion), heads."""
    weight_decay: float = 0.01
    """AdamW's; not applied to biases, norms and other vectors."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up: the paper's, or down to 0 along a line or a cosine."""
    warm_up: float | None = None
    """Share of all updates over which the rate rises; None: .05, and none for a constant rate."""
    clip_norm: float | None = None
    """Largest norm of the gradient."""
    ema_decay: float | None = None
    """When set, what counts in the end is a running mean of the weights with this decay per step."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network's arithmetic; loss, weights and optimiser stay in float32 or above."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights count: the last, or the best on the clips to choose by."""
    choose_by: str = ""
    """Head whose mean CCC, or unweighted average recall, says which epoch is best; empty: the first of the network."""
    patience: int | None = None
    """Stop after so many epochs without a better one."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError(f"epochs={self.epochs} must be at least 1 and batch_size={self.batch_size} at least 2.")
        for name in ("accumulate", "pool_batches", "patience"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")
        if not any(term.weight for term in self.terms.values()):
            raise ValueError(
                "terms holds none that weighs anything, so nothing would be learnt; add [fit.terms.NAME] with a kind "
                f"({', '.join(Term.KINDS)}), NAME being a head's. {WITHOUT_A_LOSS}"
            )
        alone = any(
            isinstance(term, Concordance) and term.weight and term.scope == "piece" for term in self.terms.values()
        )
        if self.micro_batch_size is not None and self.micro_batch_size < (2 if alone else 1):
            raise ValueError(f"micro_batch_size={self.micro_batch_size} is too small: concordance needs two clips.")
        if self.warm_up is not None and not 0 <= self.warm_up <= 1:
            raise ValueError(f"warm_up={self.warm_up} must lie in 0..1, a share of all updates.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay} must lie between 0 and 1.")
