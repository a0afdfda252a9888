"""From the weights that a fit ended with to what is written: calibrated, and without auxiliary heads."""

import dataclasses
from collections.abc import Mapping, Sequence

from torch import Tensor

from emosphere.clips.batches import Clips
from emosphere.model.description import CheckpointConfig
from emosphere.model.network import Network
from emosphere.tasks.rated import RatedTask
from emosphere.training import Answers, answers_for
from pipelines.train.config import TrainConfig
from pipelines.train.error_ball import error_ball, published_radius
from pipelines.train.write import TrainedModel


def finish(
    config: TrainConfig,
    network: Network,
    clips: Clips,
    *,
    learnt: list[int],
    held_out: list[int],
    held_out_answers: Answers,
    weights_at_weight_zero: Mapping[str, Tensor] | None,
    figures_at_weight_zero: dict[str, float] | None,
) -> TrainedModel:
    """What a training of ``network`` hands over to be written.

    Calibrated on ``clips.calibrate`` where the settings name such splits, else on the ``held_out`` rows of a
    cross-validation: clips of speakers that the answering network never learnt from. Overwrites ``network`` where
    there are ``weights_at_weight_zero``.
    """
    apart = [row for row, clip in enumerate(clips.clips) if clip.split in config.clips.calibrate]
    rows, answers = (apart, answers_for(network, clips, apart)) if apart else (held_out, held_out_answers)
    kept = without_heads(network, config.auxiliary_heads)
    targets = clips.targets(rows)
    tasks, balls = dict(kept.tasks), {}
    for head, task in kept.tasks.items():
        if answers and targets[head].is_known.any():
            tasks[head] = task.calibrated(answers[head], targets[head])
        if answers and isinstance(task, RatedTask):
            balls[head] = {"from": "calibrate" if apart else "folds"} | error_ball(
                clips, rows, answers[head], learnt, head
            )
            tasks[head] = dataclasses.replace(task, radius_90=published_radius(balls[head]))
    at_weight_zero = None
    if weights_at_weight_zero is not None:
        network.load_state_dict(weights_at_weight_zero)
        at_weight_zero = without_heads(network, config.auxiliary_heads)
    labels = {config.network.labels_of_heads[head]: task for head, task in tasks.items()}
    return TrainedModel(
        network=kept.to(next(network.parameters()).device),
        checkpoint=CheckpointConfig(network=kept.config, name=config.name, licence=config.licence, labels=labels),
        clips=clips,
        held_out=held_out,
        held_out_answers=held_out_answers,
        balls=balls,
        figures_at_weight_zero=figures_at_weight_zero,
        at_weight_zero=at_weight_zero,
    )


def without_heads(network: Network, names: Sequence[str]) -> Network:
    """A copy of the network, on the CPU and in eval mode, that lacks the heads ``names``."""
    heads = {name: head for name, head in network.config.heads.items() if name not in names}
    tasks = {name: network.tasks[name] for name in heads}
    copy = Network(dataclasses.replace(network.config, heads=heads), tasks)
    wanted = copy.state_dict()
    copy.load_state_dict({name: tensor for name, tensor in network.state_dict().items() if name in wanted})
    return copy.eval()
