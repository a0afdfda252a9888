"""Settings of a training run: one TOML file."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from emosphere.clips.augment import DistortionConfig
from emosphere.clips.spectrum import SpectrumConfig
from emosphere.config import to_mapping
from emosphere.emotion_words import EMOTIONS
from emosphere.model.architecture import NetworkConfig
from emosphere.redaction import redact
from emosphere.store import unsigned
from emosphere.training import FitConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipsConfig:
    """Which clips."""

    manifest: str
    """Table of labelled clips: Parquet as `emosphere prepare` writes it, or CSV of acted emotion words. A path from
    the working directory, or any fsspec URL."""
    train: tuple[str, ...] = ("train", "dev")
    """Splits to learn from."""
    choose: tuple[str, ...] = ()
    """Splits by which the best epoch is chosen and training stopped early."""
    calibrate: tuple[str, ...] = ()
    """Splits used for nothing but calibration: of the region probabilities, and of the ball of error that each score
    carries. Without them the folds' held-out clips calibrate the former, and the latter is only reported."""
    evaluate: tuple[str, ...] = ("test",)
    """Splits to report on in the end; nothing is chosen by them."""
    categories: tuple[str, ...] = EMOTIONS
    """Classes of the category head, in its order; clips of other categories do not teach it."""
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
    """Random changes to the frames of a clip; none when absent."""
    encoder_weights: str | None = None
    """Folder of published weights for a self-supervised encoder; None starts from random ones."""
    folds: int = 0
    """When set, also cross-validate over speakers in so many folds; it calibrates the region probabilities."""
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
        taught = set(self.fit.loss.auxiliary)
        if self.fit.loss.region_schedule != "off":
            taught.add(self.fit.loss.joint_head)
        if absent := sorted(taught - self.network.heads.keys()):
            raise ValueError(
                f"fit.loss teaches {absent}, which network.heads does not have; add it there, or set "
                'fit.loss.region_schedule = "off" for no such term.'
            )
        unknown = set(self.auxiliary_heads) - (self.network.heads.keys() - {"vad"})
        if unknown:
            raise ValueError(f"auxiliary_heads names {sorted(unknown)}, which network.heads does not have to spare.")
        if (self.fit.keep == "best" or self.fit.patience) and not self.clips.choose:
            raise ValueError('fit.keep = "best" and fit.patience need clips.choose, the splits to choose by.')
        uses = [self.clips.train, self.clips.choose, self.clips.calibrate, self.clips.evaluate]
        times_used = Counter(split for use in uses for split in set(use))
        shared = {split for split, times in times_used.items() if times > 1}
        # Choosing an epoch by the clips that are reported on is common, and said in the report; the rest is not.
        if not shared <= set(self.clips.choose) & set(self.clips.evaluate):
            raise ValueError(f"clips: {sorted(shared)} would be used for two things at once, see train and calibrate.")
        outputs = {"region": self.num_regions, "category": len(self.clips.categories)}
        for name, head in self.network.heads.items():
            if name in outputs and head.outputs != outputs[name]:
                raise ValueError(f"network.heads.{name}.outputs={head.outputs}, but there are {outputs[name]} classes.")

    @property
    def num_regions(self) -> int:
        """Regions that targets are sorted into."""
        return self.network.num_regions or 8

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
