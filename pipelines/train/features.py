"""Clips once: decoded, put behind the front end, and kept in memory, by Ray Data for all workers, or here for one."""

import functools
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from emosphere.clips.batches import InMemoryClips, clip_features, read_clip, version_of
from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping, to_mapping
from emosphere.errors import BadClip
from emosphere.model.architecture import NetworkConfig
from emosphere.model.encoder import Streams
from emosphere.model.frames import ClipFeatures
from pipelines.train.arrow_clips import CLIPS_PER_TASK, DECODED, clip_tables, clips_of, decoded_row, unreadable_row
from pipelines.train.config import TrainConfig

PROBE_S = 0.1
"""How much of a clip is decoded to see whether it can be."""


class FeatureCache:
    """The features of the last training, for the next one that needs the same. Whoever runs several of them owns it."""

    def __init__(self) -> None:
        self._key: tuple[str, bool] | None = None
        self._features: Any = None

    def features(self, clips: Sequence[Clip], config: TrainConfig, *, here: bool) -> Any:
        """What :func:`decode_here` or :func:`decode_all` gives; only where the call before asked for something else."""
        key = features_digest(clips, config), here
        if key != self._key:
            self._key, self._features = None, None  # the old ones go before the new ones need their room
            self._features = decode_here(clips, config) if here else decode_all(clips, config)
            self._key = key
        return self._features


def decode_all(clips: Sequence[Clip], config: TrainConfig) -> Any:
    """Every version of every clip behind the network's fixed front end, decoded once: a materialized Ray dataset.

    Its rows are :data:`pipelines.train.arrow_clips.DECODED` with float16 (frame, feature) values, one per stream.
    """
    import ray

    return ray.data.from_arrow(_tables_of(clips)).map_batches(
        functools.partial(_features_of_batch, config=config), batch_size=CLIPS_PER_TASK, batch_format="pyarrow"
    ).materialize()  # fmt: skip


def decode_here(clips: Sequence[Clip], config: TrainConfig) -> list[pa.Table]:
    """The batches of :func:`decode_all`, made in this process."""
    return [_features_of_batch(table, config=config) for table in _tables_of(clips)]


def features_digest(clips: Sequence[Clip], config: TrainConfig) -> str:
    """Digest of all that decides what :func:`decode_all` gives."""
    places = [clip.place for clip in clips]
    distortion = (config.seed, to_mapping(config.distortion)) if config.distortion else None
    streams = config.network.streams
    seed = config.seed if config.drawn_streams else None
    parts = (places, {name: to_mapping(stream) for name, stream in streams.items()}, config.weights, distortion, seed)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def unreadable_clips(features: Any) -> dict[int, str]:
    """Rows that could not be read, with the reason."""
    if not isinstance(features, list):
        features = features.select_columns(["row", "error"])
    reasons: dict[int, str] = {}
    for batch in _batches(features):
        errors = zip(batch["row"].to_pylist(), batch["error"].to_pylist(), strict=True)
        reasons |= {row: error for row, error in errors if error}
    return reasons


def probe_clips(clips: Sequence[Clip]) -> dict[int, str]:
    """Rows whose audio on a disk does not begin as it should, with the reason, without decoding the rest.

    Audio in other stores is not fetched for this: `emosphere prepare` has looked at it.
    """
    rows = [{"row": row, "clip": clip} for row, clip in enumerate(clips) if "://" not in clip.uri]
    if not rows:
        return {}
    import ray

    dataset = ray.data.from_arrow(clip_tables(rows)).map_batches(
        _probe_batch, batch_size=CLIPS_PER_TASK, batch_format="pyarrow"
    )
    return unreadable_clips(dataset)


def clips_in_memory(features: Any, clips: Sequence[Clip], config: TrainConfig) -> InMemoryClips:
    """The clips that could be read, in the order of ``clips``, with the ``features`` that were made of them."""
    versions: list[defaultdict[int, ClipFeatures]] = [defaultdict(dict) for _ in range(config.num_versions)]
    for batch in _batches(features):
        for decoded in batch.to_pylist():
            if decoded["error"] is None:
                values = np.frombuffer(decoded["values"], np.float16).reshape(decoded["shape"])
                versions[decoded["version"]][decoded["row"]][decoded["stream"]] = torch.from_numpy(values.copy())
    rows = sorted(versions[0])
    return InMemoryClips(
        tuple(clips[row] for row in rows),
        tuple(tuple(version[row] for row in rows) for version in versions),
        config.tasks,
    )


def _tables_of(clips: Sequence[Clip]) -> list[pa.Table]:
    return clip_tables([{"row": row, "clip": clip} for row, clip in enumerate(clips)])


def _batches(features: Any) -> Iterable[pa.Table]:
    batches: Iterable[pa.Table] = (
        features if isinstance(features, list) else features.iter_batches(batch_size=None, batch_format="pyarrow")
    )
    return batches


@functools.lru_cache(maxsize=1)
def _front_ends(settings: str, weights: str, seed: int) -> Streams:
    """Those that the network of ``seed`` begins with. Once per process: it costs seconds to build a large one."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    streams = Streams(from_mapping(NetworkConfig, json.loads(settings), source="network").streams)
    streams.start_from(json.loads(weights))
    return streams.eval()


def _features_of_batch(batch: pa.Table, *, config: TrainConfig) -> pa.Table:
    front_ends = _front_ends(json.dumps(to_mapping(config.network)), json.dumps(config.weights), config.seed)
    rows: list[dict[str, Any]] = []
    for row, clip in clips_of(batch):
        try:
            clean = read_clip(clip)
        except BadClip as error:
            rows.append(unreadable_row(row, 0, error))
            continue
        for version in range(config.num_versions):
            waveform = version_of(clean, clip, version, config.distortion, config.seed)
            features = clip_features(waveform, front_ends.features, front_ends.min_samples)
            rows += [
                decoded_row(row, version, frames.half().numpy(), stream=stream) for stream, frames in features.items()
            ]
    return pa.Table.from_pylist(rows, schema=DECODED)


def _probe_batch(batch: pa.Table) -> pa.Table:
    rows = []
    for row, clip in clips_of(batch):
        try:
            read_clip(clip, max_s=PROBE_S)
        except BadClip as error:
            rows.append(unreadable_row(row, 0, error))
    return pa.Table.from_pylist(rows, schema=DECODED)
