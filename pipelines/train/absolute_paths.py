"""Paths as workers need them, who stand in another working directory than the user."""

import dataclasses
from pathlib import Path
from typing import Final

from emosphere.errors import UsageError
from emosphere.store import unsigned
from pipelines.train.config import TrainConfig

SQLITE: Final = "sqlite:///"
"""What MLflow's address begins with where a file of this machine, from the working directory, is the database."""


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same settings, for any working directory. Raises UsageError for an ``out`` or weights in a store."""
    tracking = config.mlflow
    if "://" in config.out:
        raise UsageError(f"out = {config.out!r}: a model is trained into a folder of this machine; copy it from there.")
    for stream, weights in config.weights.items():
        if "://" in weights:
            raise UsageError(
                f"[weights] {stream} = {unsigned(weights)!r}: weights are read from a folder of this machine; copy "
                "them there."
            )
    return dataclasses.replace(
        config,
        out=str(Path(config.out).absolute()),
        clips=dataclasses.replace(config.clips, manifest=_absolute(config.clips.manifest)),
        weights={stream: str(Path(weights).absolute()) for stream, weights in config.weights.items()},
        mlflow=None if tracking is None else _absolute_tracking(tracking),
    )


def _absolute_tracking(address: str) -> str:
    """MLflow's address, a database file or folder of it with its whole path.

    >>> _absolute_tracking("http://tracker:5000"), _absolute_tracking("sqlite:////data/mlflow.db")
    ('http://tracker:5000', 'sqlite:////data/mlflow.db')
    """
    if address.startswith(SQLITE):
        return SQLITE + str(Path(address.removeprefix(SQLITE)).absolute())
    # One word of its own: where Databricks' own settings say.
    return address if address.startswith("databricks") else _absolute(address)


def _absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).absolute())
