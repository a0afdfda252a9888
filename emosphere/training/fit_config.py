"""Settings of a fit."""

from dataclasses import dataclass, field
from typing import Literal

from emosphere.training.loss import LossConfig

PARTS = ("encoder", "pooling", "heads")
"""Parts of a network that may have a learning rate of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How a network is fitted."""

    epochs: int = 20
    """Rounds over the training clips."""
    batch_size: int = 32
    """Clips of a batch, of all workers together."""
    accumulate: int = 1
    """Batches per update of the weights."""
    micro_batch_size: int | None = None
    """Clips that go through the network at once, per worker; None: its whole share of a batch. Saves memory."""
    concordance: Literal["micro-batch", "batch", "global"] = "global"
    """Over which clips one CCC is taken: those that go through the network at once on one worker (the authors' code,
    16), those of a batch over all workers (the paper's text, 32), or all clips of an update, over all workers and
    accumulated batches (ours). The first is biased towards 0 and depends on the number of workers."""
    pool_batches: int = 1
    """Batches whose clips are sorted by length before they are dealt out, so that like lengths meet; 1: none."""
    learning_rate: float = 1e-5
    """AdamW's, at its highest."""
    learning_rates: dict[str, float] = field(default_factory=dict)
    """Other rates for parts of the network: encoder, pooling, heads."""
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
    """Which epoch's weights count: the last, or the one with the best mean CCC on the clips to choose by."""
    patience: int | None = None
    """Stop after so many epochs without a better mean CCC on the clips to choose by."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Terms and their weights."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError(f"epochs={self.epochs} must be at least 1 and batch_size={self.batch_size} at least 2.")
        for name in ("accumulate", "pool_batches", "patience"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")
        if self.micro_batch_size is not None and self.micro_batch_size < (
            2 if self.concordance == "micro-batch" else 1
        ):
            raise ValueError(f"micro_batch_size={self.micro_batch_size} is too small: concordance needs two clips.")
        unknown = self.learning_rates.keys() - set(PARTS)
        if unknown:
            raise ValueError(f"learning_rates names {sorted(unknown)}; the parts are {', '.join(PARTS)}.")
        if self.warm_up is not None and not 0 <= self.warm_up <= 1:
            raise ValueError(f"warm_up={self.warm_up} must lie in 0..1, a share of all updates.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay} must lie between 0 and 1.")
