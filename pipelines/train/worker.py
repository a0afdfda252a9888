"""What every training worker does: fit on all clips, cross-validate, report; the first one also writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from emosphere.clips.batches import Clips
from emosphere.clips.epoch import num_batches
from emosphere.clips.manifest import Clip
from emosphere.clips.splits import speaker_folds
from emosphere.errors import UsageError
from emosphere.model.network import Network
from emosphere.training import Answers, Fit, answers_for
from emosphere.training.terms import head_of
from pipelines.train.choice_figures import choice_figures, logged_figures
from pipelines.train.config import TrainConfig, settings_without_secrets
from pipelines.train.features import clips_in_memory
from pipelines.train.finish import finish
from pipelines.train.log import TrainLog
from pipelines.train.place import Place, RayWorker
from pipelines.train.ranks import DistributedRanks
from pipelines.train.streamed_clips import StreamedClips
from pipelines.train.timed_epoch import run_epoch
from pipelines.train.write import write_model

FEATURES = "features"
"""Name under which the driver hands over the clips that were decoded once."""


def train_on_worker(arguments: dict[str, Any]) -> None:
    """Ray Train's entry: every rank comes through here, and reports equally often."""
    import ray.train

    config, clips = arguments["config"], arguments["clips"]
    features = ray.train.get_dataset_shard(FEATURES) if config.clips.hold == "memory" else None
    Worker(config, clips, features, RayWorker(Path(config.out))).run()


class Worker:
    """One rank. Stages are fits: on all clips to learn from, then on all but each fold of the cross-validation."""

    def __init__(self, config: TrainConfig, clips: Sequence[Clip], features: Any, place: Place) -> None:
        """``features``: of the ``clips``, as :class:`FeatureCache` gives them; None where they are streamed."""
        self.config, self.place = config, place
        self.rank, self.num_ranks, self.device = place.rank, place.num_ranks, place.device
        torch.set_num_threads(1)
        self.clips: Clips = StreamedClips(clips, config)
        if features is not None:
            self.clips = clips_in_memory(features, clips, config)
        self.learnt = self._rows_of(config.clips.train)
        self.chosen_by = self._rows_of(config.clips.choose)
        self.state = place.saved_state() or {
            "stage": 0, "epoch": 0, "epochs_done": 0, "fit": None, "best": None, "network": None, "held_out": [],
            "at_weight_zero": None, "weights_at_weight_zero": None,
        }  # fmt: skip
        self.log = None
        if self.rank == 0:
            self.log = TrainLog(
                Path(config.out),
                name=config.name,
                mlflow=config.mlflow,
                settings=settings_without_secrets(config),
                done=self.state["epochs_done"],
            )

    def run(self) -> None:
        """All stages from where the last reported epoch left them; the checkpoint is written as soon as it exists."""
        stages = self._stages()
        for number in range(self.state["stage"], len(stages)):
            self._run_stage(number, stages[number])
            if self.rank == 0 and not stages[number] and number + 1 < len(stages):
                self._write([])
        # Also where a run that was killed while writing resumes behind its last stage.
        if self.rank == 0:
            self._write([row for held_out in stages for row in held_out])
        if self.log is not None:
            self.log.close()

    def _run_stage(self, number: int, held_out: list[int]) -> None:
        config = self.config
        rows = sorted(set(self.learnt) - set(held_out))
        fit = self._new_fit(rows)
        for epoch in range(self.state["epoch"], config.fit.epochs):
            metrics = run_epoch(
                fit, self.clips, rows, config, stage=number, epoch=epoch, rank=self.rank, num_ranks=self.num_ranks
            )
            stops = False
            if self.chosen_by:
                figures = choice_figures(
                    fit.result(), self.clips, self.chosen_by, rank=self.rank, num_ranks=self.num_ranks
                )
                metrics["choose"] = logged_figures(figures, config.tasks)
                if config.chosen_by not in figures:
                    raise UsageError(
                        f"no readable clip of clips.choose has a label for the head {config.chosen_by}, by which the "
                        "best epoch is chosen."
                    )
                # The first figure of a head is the one to choose by: mean CCC, or unweighted average recall.
                stops = self._remember_best(fit, epoch, next(iter(figures[config.chosen_by].values())))
            if not held_out and self._reaches_weight_zero(epoch):
                weights = {name: tensor.detach().cpu().clone() for name, tensor in fit.result().state_dict().items()}
                self.state |= {
                    "at_weight_zero": {"epochs": epoch + 1} | metrics.get("choose", {}),
                    "weights_at_weight_zero": weights,
                }
            if self.log is not None:
                self.log.write(number, epoch + 1, metrics)
            last = stops or epoch + 1 == config.fit.epochs
            self.state |= {"epoch": epoch + 1, "epochs_done": self.state["epochs_done"] + 1, "fit": fit.state()}
            if last:
                self._finish_stage(fit, held_out)
            # All ranks by the same rule, else Ray waits for ever. A report to it takes about two seconds.
            if last or (epoch + 1) % config.save_every == 0:
                self.place.report({"stage": number, "epoch": epoch + 1} | metrics, self.state)
            if last:
                return

    def _reaches_weight_zero(self, epoch: int) -> bool:
        """Whether this was the last epoch in which a falling term of a head that is kept had a weight above 0."""
        num_epochs, auxiliary = self.config.fit.epochs, self.config.auxiliary_heads
        return self.state["at_weight_zero"] is None and any(
            term.weight and head_of(name, term) not in auxiliary
            and term.share(epoch, num_epochs) > 0 == term.share(epoch + 1, num_epochs)
            for name, term in self.config.fit.terms.items() if term.schedule == "falling"
        )  # fmt: skip

    def _new_fit(self, rows: Sequence[int]) -> Fit:
        config = self.config
        torch.manual_seed(config.seed)
        network = Network(config.network, config.tasks)
        network.streams.start_from(config.weights)
        network.to(self.device)
        if isinstance(self.clips, StreamedClips):
            self.clips.use_front_end_of(network)
        shared = self.num_ranks > 1
        fit = Fit(
            network,
            config.fit,
            self._class_weights(rows),
            steps_per_epoch=-(-num_batches(len(rows), config.fit.batch_size) // config.fit.accumulate),
            parallel=_in_parallel if shared else None,
            ranks=DistributedRanks() if shared else None,
        )
        if self.state["fit"] is not None:
            fit.restore(self.state["fit"])
        return fit

    def _remember_best(self, fit: Fit, epoch: int, figure: float) -> bool:
        """Keep the best epoch's weights where they are wanted; True when it is time to stop."""
        best = self.state["best"]
        if best is None or figure > best["figure"]:
            weights = fit.result().state_dict() if self.config.fit.keep == "best" else None
            copied = None if weights is None else {name: tensor.detach().clone() for name, tensor in weights.items()}
            self.state["best"] = best = {"figure": figure, "epoch": epoch, "network": copied}
        patience = self.config.fit.patience
        return patience is not None and epoch - best["epoch"] >= patience

    def _finish_stage(self, fit: Fit, held_out: list[int]) -> None:
        network = fit.result()
        if self.config.fit.keep == "best":
            network.load_state_dict(self.state["best"]["network"])
        self.state |= {"stage": self.state["stage"] + 1, "epoch": 0, "fit": None, "best": None}
        weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
        if not held_out:
            self.state["network"] = weights
        elif self.rank == 0:
            self.state["held_out"].append(answers_for(network, self.clips, held_out))

    def _rows_of(self, splits: Sequence[str]) -> list[int]:
        return [row for row, clip in enumerate(self.clips.clips) if clip.split in splits]

    def _stages(self) -> list[list[int]]:
        """Rows that each stage does not learn from."""
        return [[], *self._folds()]

    def _folds(self) -> list[list[int]]:
        if not self.config.folds:
            return []
        fold_of = speaker_folds([self.clips.clips[row] for row in self.learnt], self.config.folds)
        return [
            [row for row, fold in zip(self.learnt, fold_of, strict=True) if fold == wanted]
            for wanted in range(self.config.folds)
        ]

    def _class_weights(self, rows: Sequence[int]) -> dict[str, Tensor]:
        targets = self.clips.targets(rows)
        weights = {head: task.class_weights(targets[head]) for head, task in self.config.tasks.items()}
        return {head: of_classes for head, of_classes in weights.items() if of_classes is not None}

    def _write(self, held_out: list[int]) -> None:
        """Write the network, with what the folds' networks answered to the rows ``held_out`` of them."""
        network = Network(self.config.network, self.config.tasks)
        network.load_state_dict(self.state["network"])
        network.to(self.device)
        if isinstance(self.clips, StreamedClips):
            self.clips.use_front_end_of(network)
        parts: list[Answers] = self.state["held_out"]
        answers = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if held_out else {}
        trained = finish(
            self.config,
            network,
            self.clips,
            learnt=self.learnt,
            held_out=held_out,
            held_out_answers=answers,
            weights_at_weight_zero=self.state["weights_at_weight_zero"],
            figures_at_weight_zero=self.state["at_weight_zero"],
        )
        write_model(self.config, trained)


def _in_parallel(network: nn.Module) -> nn.Module:
    """On all ranks of the process group, as Ray Train's ``prepare_model`` would, which knows no other ranks."""
    device = next(network.parameters()).device
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    # Layer drop skips whole layers, and a head may be in no term of the loss. Buffers are constants (filters, windows),
    # and ranks with unequal numbers of pieces, which broadcast them unequally often, would wait for one another for
    # ever.
    return DistributedDataParallel(
        network, device_ids=[device] if on_gpu else None, find_unused_parameters=True, broadcast_buffers=False
    )
