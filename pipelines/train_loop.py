"""What every training worker does: hear the clips, cross-validate, fit, report; the first one also writes."""

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import ray.train
import torch
import torch.distributed
from ray.train.torch import prepare_model
from torch import Tensor

from emosphere.data.augment import DistortionConfig
from emosphere.data.collate import HeardClips, hear, num_batches, training_batches
from emosphere.data.labels import EMOTIONS
from emosphere.data.manifest import read_manifest
from emosphere.data.spectrum import SpectrumConfig
from emosphere.data.splits import speaker_folds
from emosphere.geometry import REGION_NAMES
from emosphere.losses.classification import class_weights
from emosphere.metrics import calibrate_temperature
from emosphere.model.checkpoint import CheckpointConfig
from emosphere.model.network import Network, NetworkConfig
from emosphere.model.pretrained import PretrainedEncoder
from emosphere.training import Answers, Fit, FitConfig, answers_for

STATE_NAME = "state.pt"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipsConfig:
    """Which clips."""

    manifest: str
    """CSV table of labelled clips; a relative path counts from the working directory."""
    train: tuple[str, ...] = ("train", "dev")
    """Splits to learn from."""
    evaluate: tuple[str, ...] = ("test",)
    """Splits to report on in the end; nothing is chosen by them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run."""

    name: str
    """Name of the model."""
    licence: str
    """Licence of the weights, which the data may dictate."""
    out: str
    """Folder for the checkpoint."""
    clips: ClipsConfig
    network: NetworkConfig
    fit: FitConfig = field(default_factory=FitConfig)
    distortion: DistortionConfig | None = None
    """Distorted copies of each clip; none when absent."""
    spectrum: SpectrumConfig | None = None
    """Random changes to heard frames; none when absent."""
    encoder_weights: str | None = None
    """Folder of published weights for a self-supervised encoder; None starts from random ones."""
    folds: int = 0
    """When set, first cross-validate over speakers in so many folds; it also calibrates the region probabilities."""
    save_every: int = 1
    """Epochs between saved states; a broken run goes on from the last."""
    seed: int = 0
    auxiliary_heads: tuple[str, ...] = ()
    """Heads that serve training only and are left out of the checkpoint."""
    card: str = ""
    """Text of the model card; ``{figures}`` in it is replaced by the tables of what was measured."""

    def __post_init__(self) -> None:
        if self.save_every < 1:
            raise ValueError(f"save_every={self.save_every} must be at least 1.")
        if self.folds == 1 or self.folds < 0:
            raise ValueError(f"folds={self.folds} must be 0 (none) or at least 2.")
        unknown = set(self.auxiliary_heads) - (self.network.heads.keys() - {"vad", "region"})
        if unknown:
            raise ValueError(f"auxiliary_heads names {sorted(unknown)}, which network.heads does not have to spare.")


@dataclass(frozen=True)
class Trained:
    """What training hands over to be written."""

    network: Network
    """Without auxiliary heads."""
    checkpoint: CheckpointConfig
    heard: HeardClips
    held_out: list[int]
    """Rows that a fold left out and then answered for; empty without or before cross-validation."""
    held_out_answers: Answers


def train_on_worker(arguments: dict[str, Any]) -> None:
    """Ray Train's entry: every rank comes through here, and reports equally often."""
    Worker(arguments["config"], arguments["write"]).run()


class Worker:
    """One rank. The stages are the fit on all clips to learn from, then the folds of the cross-validation."""

    def __init__(self, config: TrainConfig, write: Callable[[TrainConfig, Trained], None]) -> None:
        self.config, self.write = config, write
        context = ray.train.get_context()
        self.rank, self.num_ranks = context.get_world_rank(), context.get_world_size()
        torch.set_num_threads(1)
        splits = config.clips.train + config.clips.evaluate
        clips = [clip for clip in read_manifest(config.clips.manifest, num_regions=self.num_regions)]
        clips = [clip for clip in clips if clip.split in splits or not clip.weak]
        probe = Network(config.network)
        self.heard = hear(clips, probe.listen, probe.min_samples, config.distortion, seed=config.seed)
        self.learnt = [row for row, clip in enumerate(clips) if clip.split in config.clips.train]
        self.state = self._resumed() or {"stage": 0, "epoch": 0, "fit": None, "network": None, "held_out": []}

    @property
    def num_regions(self) -> int:
        return self.config.network.num_regions or 8

    def run(self) -> None:
        """All stages from where the last reported epoch left them; the checkpoint is written as soon as it exists."""
        folds = self._folds()
        for stage in range(self.state["stage"], 1 + len(folds)):
            self._fit(stage, folds[stage - 1] if stage else [])
            if self.rank == 0 and stage in (0, len(folds)):
                self._write([row for fold in folds[:stage] for row in fold])

    def _fit(self, stage: int, held_out: list[int]) -> None:
        config = self.config
        rows = sorted(set(self.learnt) - set(held_out))
        fit = self._start(rows)
        for epoch in range(self.state["epoch"], config.fit.epochs):
            batches = training_batches(
                self.heard, rows, config.spectrum, batch_size=config.fit.batch_size, seed=config.seed, epoch=epoch,
                rank=self.rank, num_ranks=self.num_ranks,
            )  # fmt: skip
            metrics: dict[str, Any] = {"stage": stage, "epoch": epoch + 1, "loss": fit.epoch(batches, epoch)}
            last = epoch + 1 == config.fit.epochs
            self.state |= {"epoch": epoch + 1, "fit": fit.state()}
            if last:
                if held_out and self.rank == 0:
                    self.state["held_out"].append(answers_for(fit.result(), self.heard, held_out))
                self.state |= {"stage": stage + 1, "epoch": 0, "fit": None}
                self.state |= {} if held_out else {"network": fit.result().state_dict()}
            # All ranks by the same rule, else Ray waits for ever. A report takes about two seconds.
            if last or (epoch + 1) % config.save_every == 0:
                self._report(metrics)

    def _start(self, rows: Sequence[int]) -> Fit:
        config = self.config
        torch.manual_seed(config.seed)
        network = Network(config.network)
        if config.encoder_weights:
            cast(PretrainedEncoder, network.encoder).start_from(config.encoder_weights)
        shared = self.num_ranks > 1
        fit = Fit(
            network,
            config.fit,
            self._class_weights(rows),
            steps_per_epoch=num_batches(len(rows), config.fit.batch_size, self.num_ranks),
            # Unused parameters: layer drop skips whole layers, and a head may rest.
            wrapped=prepare_model(network, parallel_strategy_kwargs={"find_unused_parameters": True})
            if shared
            else None,
            gather=gather_from_all if shared else None,
            num_workers=self.num_ranks,
        )
        if self.state["fit"] is not None:
            fit.restore(self.state["fit"])
        torch.manual_seed(config.seed * 1000 + self.rank + 1)
        return fit

    def _report(self, metrics: dict[str, Any]) -> None:
        # Every rank reports; only the first has a checkpoint to give.
        if self.rank:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            torch.save(self.state, Path(folder) / STATE_NAME)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))

    def _resumed(self) -> dict[str, Any] | None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            # weights_only: tensors and plain containers, nothing else is unpickled.
            state: dict[str, Any] = torch.load(Path(folder) / STATE_NAME, weights_only=True)
        return state

    def _folds(self) -> list[list[int]]:
        if not self.config.folds:
            return []
        fold_of = speaker_folds([self.heard.clips[row] for row in self.learnt], self.config.folds)
        return [
            [row for row, fold in zip(self.learnt, fold_of, strict=True) if fold == wanted]
            for wanted in range(self.config.folds)
        ]

    def _class_weights(self, rows: Sequence[int]) -> dict[str, Tensor]:
        targets = self.heard.targets(rows)
        sizes = {"region": self.num_regions, "category": len(EMOTIONS)}
        return {name: class_weights(targets[name], size) for name, size in sizes.items()}

    def _write(self, held_out: list[int]) -> None:
        """Hand over the network, its region probabilities calibrated on the folds' held-out answers."""
        config = self.config
        parts: list[Answers] = self.state["held_out"]
        answers = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if held_out else {}
        temperature = 1.0
        if "region" in answers:
            temperature = calibrate_temperature(answers["region"], self.heard.targets(held_out)["region"])
        network = Network(config.network)
        network.load_state_dict(self.state["network"])
        slim = without_heads(network, config.auxiliary_heads)
        checkpoint = CheckpointConfig(
            network=slim.config,
            name=config.name,
            licence=config.licence,
            region_names=REGION_NAMES[self.num_regions] if config.network.num_regions else (),
            region_temperature=round(temperature, 4),
        )
        self.write(config, Trained(slim, checkpoint, self.heard, held_out, answers))


def without_heads(network: Network, names: Sequence[str]) -> Network:
    """A copy of the network that lacks the heads ``names``."""
    heads = {name: head for name, head in network.config.heads.items() if name not in names}
    slim = Network(dataclasses.replace(network.config, heads=heads))
    wanted = slim.state_dict()
    slim.load_state_dict({name: tensor for name, tensor in network.state_dict().items() if name in wanted})
    return slim.eval()


def gather_from_all(answers: Answers, targets: dict[str, Tensor]) -> tuple[Answers, dict[str, Tensor]]:
    """Answers and targets of all ranks, in rank order; gradient reaches this rank's own answers.

    Concordance is a statistic of the whole batch: averaging each rank's own would pull elsewhere.
    """
    own_size = torch.tensor([len(targets["vad"])])
    sizes = [torch.zeros_like(own_size) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(sizes, own_size)
    counts = [int(size) for size in sizes]
    return (
        {name: _gather(tensor, counts) for name, tensor in sorted(answers.items())},
        {name: _gather(tensor, counts) for name, tensor in sorted(targets.items())},
    )


def _gather(own: Tensor, counts: list[int]) -> Tensor:
    padded = own.detach().new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own.detach()
    everyone = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(everyone, padded)
    rank = torch.distributed.get_rank()
    parts = [part[:count] for part, count in zip(everyone, counts, strict=True)]
    return torch.cat([own if index == rank else part for index, part in enumerate(parts)])
