"""Settings of a training run: one TOML file."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import nn

from emosphere.clips.augment import DistortionConfig
from emosphere.clips.spectrum import SpectrumConfig
from emosphere.config import to_mapping
from emosphere.model.architecture import CLIP, SPEECH, NetworkConfig, PretrainedConfig
from emosphere.redaction import redact
from emosphere.store import unsigned
from emosphere.tasks import Task, refuse_shared_columns
from emosphere.training import FitConfig
from emosphere.training.fit_config import PARTS
from emosphere.training.terms import head_of


def _categories_are_a_label(value: Any) -> str:
    return f'Write `[labels.category]` `kind = "category"` `words = {json.dumps(value)}`.'


def _weights_are_of_streams(value: Any) -> str:
    return f"Write the table `[weights]` with `{SPEECH} = {json.dumps(value)}`, by the stream's name."


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipsConfig:
    """Which clips."""

    REPLACED: ClassVar[Mapping[str, Callable[[Any], str]]] = {"categories": _categories_are_a_label}
    """Settings of earlier versions."""

    manifest: str
    """Table of labelled clips: Parquet as `emosphere prepare` writes it, or CSV of acted emotion words. A path from
    the working directory, or any fsspec URL."""
    train: tuple[str, ...] = ("train", "dev")
    """Splits to learn from."""
    choose: tuple[str, ...] = ()
    """Splits by which the best epoch is chosen and training stopped early."""
    calibrate: tuple[str, ...] = ()
    """Splits used for nothing but calibration: of class probabilities, and of the ball of error that each score
    carries. Without them the folds' held-out clips calibrate the former, and the latter is only reported."""
    evaluate: tuple[str, ...] = ("test",)
    """Splits to report on in the end; nothing is chosen by them."""
    without_category: Literal["keep", "learn", "drop"] = "keep"
    """Clips without a category (MSP-Podcast's X: the raters did not agree): as any other, only to learn from, or left
    out."""
    hold: Literal["memory", "stream"] = "memory"
    """Decode all clips once and keep what the front end makes of them, or decode them anew in every epoch: for
    corpora that memory does not hold."""
    max_unreadable: int = 0
    """Clips that may turn out unreadable; they are left out and listed in training.json. More are an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run."""

    REPLACED: ClassVar[Mapping[str, Callable[[Any], str]]] = {"encoder_weights": _weights_are_of_streams}
    """Settings of earlier versions."""

    name: str
    """Name of the model."""
    licence: str
    """Licence of the weights, which the data may dictate."""
    out: str
    """Folder for the checkpoint."""
    clips: ClipsConfig
    network: NetworkConfig
    fit: FitConfig
    labels: dict[str, Task] = field(default_factory=dict)
    """By name: what the heads answer. A label of a kind's own name may be left out, for that kind's defaults."""
    weights: dict[str, str] = field(default_factory=dict)
    """By stream: folder of published weights that it starts from; a stream that is not named starts from random ones.
    """
    distortion: DistortionConfig | None = None
    """Distorted copies of each clip; none when absent."""
    spectrum: SpectrumConfig | None = None
    """Random changes to the frames of a clip; none when absent."""
    folds: int = 0
    """When set, also cross-validate over speakers in so many folds; it calibrates the probabilities of classes."""
    save_every: int = 1
    """Epochs between saved states; a broken run goes on from the last."""
    seed: int = 0
    """Every draw of the training follows from it."""
    auxiliary_heads: tuple[str, ...] = ()
    """Heads that serve training only and are left out of the checkpoint."""
    card: str = ""
    """Text of the model card; ``{figures}`` in it is replaced by the tables of what was measured."""
    mlflow: str | None = None
    """Tracking address or folder of MLflow (extra `mlflow`), to log there too."""

    def __post_init__(self) -> None:
        if self.save_every < 1:
            raise ValueError(f"save_every={self.save_every} must be at least 1.")
        if self.folds == 1 or self.folds < 0:
            raise ValueError(f"folds={self.folds} must be 0 (none) or at least 2.")
        self._check_heads()
        unknown = set(self.auxiliary_heads) - self.network.heads.keys()
        if unknown:
            raise ValueError(
                f"auxiliary_heads names {sorted(unknown)}; network.heads has {', '.join(self.network.heads)}."
            )
        if len(set(self.auxiliary_heads)) == len(self.network.heads):
            raise ValueError(f"auxiliary_heads names every head, {sorted(self.auxiliary_heads)}; keep at least one.")
        streams = self.network.streams
        for name in self.weights:
            if not isinstance(streams.get(name), PretrainedConfig):
                raise ValueError(
                    f"weights.{name}: no pretrained stream is called so; the streams are {', '.join(streams)}."
                )
        if self.spectrum and (absent := sorted(set(self.spectrum.streams) - streams.keys())):
            raise ValueError(f"spectrum.streams names {absent}; the streams are {', '.join(streams)}.")
        if absent := sorted(self.fit.learning_rates.keys() - {*PARTS, *streams}):
            raise ValueError(
                f"fit.learning_rates names {absent}; the parts are {', '.join((*PARTS, *streams))} (streams were once "
                "called encoder)."
            )
        if (self.fit.keep == "best" or self.fit.patience) and not self.clips.choose:
            raise ValueError('fit.keep = "best" and fit.patience need clips.choose, the splits to choose by.')
        uses = [self.clips.train, self.clips.choose, self.clips.calibrate, self.clips.evaluate]
        times_used = Counter(split for use in uses for split in set(use))
        shared = {split for split, times in times_used.items() if times > 1}
        # Choosing an epoch by the clips that are reported on is common, and said in the report; the rest is not.
        if not shared <= set(self.clips.choose) & set(self.clips.evaluate):
            raise ValueError(f"clips: {sorted(shared)} would be used for two things at once, see train and calibrate.")

    def _check_heads(self) -> None:
        """Raise ValueError unless every head has a label, and a term that fits it."""
        tasks, heads = self.tasks, self.network.heads
        for name in (*self.network.streams, *heads):
            if hasattr(nn.ModuleDict, name):
                raise ValueError(f"{name!r} cannot be the name of a stream or a head: torch means something by it.")
        for name in self.fit.terms:
            if hasattr(nn.ParameterDict, name) or "." in name or not name:
                raise ValueError(
                    f"{name!r} cannot be the name of a term: it is empty, holds a dot, or torch means something by it."
                )
        refuse_shared_columns({head: task for head, task in tasks.items() if head not in self.auxiliary_heads})
        taught = {head_of(name, term) for name, term in self.fit.terms.items()}
        # A file that others build on may describe what only some of them ask; a misspelt name is neither.
        answered = self.network.labels_of_heads.values()
        for name in self.labels:
            if name not in {*answered, *taught, *Task.KINDS}:
                raise ValueError(
                    f"no head answers labels.{name}: their labels are {', '.join(dict.fromkeys(answered))}; mend the "
                    "name, or leave the table out."
                )
        for head, task in tasks.items():
            if head not in taught:
                raise ValueError(
                    f"nothing teaches network.heads.{head}: add [fit.terms.{head}] kind = {task.term!r}, with "
                    "weight = 0.0 if that is meant."
                )
        for name, term in self.fit.terms.items():
            head = head_of(name, term)
            if not term.weight:
                continue
            if head not in heads:
                raise ValueError(
                    f"fit.terms.{name} teaches the head {head!r}, which network.heads does not have; add it there, or "
                    "set weight = 0.0 for no such term."
                )
            if not isinstance(tasks[head], term.teaches):
                raise ValueError(
                    f"fit.terms.{name}.kind={term.kind!r} cannot teach labels of kind {tasks[head].kind!r}; "
                    f"{tasks[head].term!r} can."
                )
            if heads[head].reads != CLIP and term.scope != "piece":
                raise ValueError(
                    f"fit.terms.{name}.scope={term.scope!r}: the head {head!r} reads frames, whose answers stay with "
                    'their piece; set scope = "piece".'
                )
        if self.fit.choose_by and self.fit.choose_by not in heads:
            raise ValueError(f"fit.choose_by={self.fit.choose_by!r} is no head, of {', '.join(heads)}.")

    @property
    def tasks(self) -> dict[str, Task]:
        """What each head answers."""
        return self.network.tasks(self.labels)

    @property
    def drawn_streams(self) -> set[str]:
        """Streams of a pretrained kind that start from random weights."""
        streams = self.network.streams.items()
        return {name for name, stream in streams if isinstance(stream, PretrainedConfig)} - self.weights.keys()

    @property
    def chosen_by(self) -> str:
        """Head whose figure says which epoch is best."""
        return self.fit.choose_by or next(iter(self.network.heads))

    @property
    def num_versions(self) -> int:
        """The clean version of each clip, and its distorted copies."""
        return 1 + (self.distortion.copies if self.distortion else 0)


def settings_without_secrets(config: TrainConfig) -> dict[str, Any]:
    """The settings as they may be stored: addresses without signatures, names and passwords."""
    settings = to_mapping(config)
    settings["clips"]["manifest"] = unsigned(config.clips.manifest)
    settings["mlflow"] = None if config.mlflow is None else redact(config.mlflow)
    return settings
