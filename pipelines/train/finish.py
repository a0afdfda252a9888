"""From the weights that a fit ended with to what is written: calibrated, and without auxiliary heads."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from emosphere.clips.batches import Clips
from emosphere.geometry import REGION_NAMES
from emosphere.metrics import calibrate_temperature
from emosphere.model.architecture import NetworkConfig
from emosphere.model.description import CheckpointConfig
from emosphere.model.network import Network
from emosphere.training import Answers, answers_for
from pipelines.train.config import TrainConfig
from pipelines.train.error_ball import error_ball, is_informative
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
    temperature, ball = 1.0, None
    if "region" in answers:
        temperature = calibrate_temperature(answers["region"], clips.targets(rows)["region"])
    if answers:
        ball = {"from": "calibrate" if apart else "folds"} | error_ball(clips, rows, answers, learnt)
    kept = without_heads(network, config.auxiliary_heads)
    at_weight_zero = None
    if weights_at_weight_zero is not None and kept.config.num_regions:
        network.load_state_dict(weights_at_weight_zero)
        at_weight_zero = without_heads(network, config.auxiliary_heads)
    return TrainedModel(
        network=kept.to(next(network.parameters()).device),
        checkpoint=_checkpoint_config(config, kept.config, temperature, ball),
        clips=clips,
        held_out=held_out,
        held_out_answers=held_out_answers,
        ball=ball,
        region_head_at_weight_zero=figures_at_weight_zero,
        at_weight_zero=at_weight_zero,
    )


def without_heads(network: Network, names: Sequence[str]) -> Network:
    """A copy of the network, on the CPU and in eval mode, that lacks the heads ``names``."""
    heads = {name: head for name, head in network.config.heads.items() if name not in names}
    copy = Network(dataclasses.replace(network.config, heads=heads))
    wanted = copy.state_dict()
    copy.load_state_dict({name: tensor for name, tensor in network.state_dict().items() if name in wanted})
    return copy.eval()


def _checkpoint_config(
    config: TrainConfig, network: NetworkConfig, temperature: float, ball: dict[str, Any] | None
) -> CheckpointConfig:
    # Only a ball from clips kept apart is published: the folds' networks are others than the one that is written.
    is_published = ball is not None and ball["from"] == "calibrate" and is_informative(ball)
    return CheckpointConfig(
        network=network,
        name=config.name,
        licence=config.licence,
        region_names=REGION_NAMES[config.num_regions] if network.num_regions else (),
        region_temperature=round(temperature, 4),
        vad_radius_90=ball["radius"] if ball is not None and is_published else None,
    )
