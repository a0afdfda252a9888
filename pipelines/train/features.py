"""Clips through Ray Data: decoded once into memory for all workers, or anew in every epoch."""

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import ray
import torch
from torch import Tensor

from emosphere.clips.augment import DistortionConfig, Waveform
from emosphere.clips.batches import InMemoryClips, clip_features, read_clip, targets_of, version_of
from emosphere.clips.manifest import Clip
from emosphere.config import from_mapping, to_mapping
from emosphere.errors import BadClip
from emosphere.model.architecture import NetworkConfig, PretrainedConfig
from emosphere.model.description import MAX_CLIP_S
from emosphere.model.encoder import Encoder, build_encoder
from emosphere.model.network import Network
from emosphere.model.pretrained import PretrainedEncoder
from pipelines.train.config import TrainConfig

CLIPS_PER_TASK = 16
PROBE_S = 0.1
"""How much of a clip is decoded to see whether it can be."""


def num_versions(config: TrainConfig) -> int:
    """The clean version of each clip, and its distorted copies."""
    return 1 + (config.distortion.copies if config.distortion else 0)


def decode_all(clips: Sequence[Clip], config: TrainConfig) -> Any:
    """Every version of every clip behind the network's fixed front end, decoded once: a materialized Ray dataset.

    A row holds ``row``, ``version``, ``shape``, float16 ``values`` and ``error``, which says why a clip is unreadable.
    """
    rows = [{"row": row, "clip": clip} for row, clip in enumerate(clips)]
    tables = _tables(rows)
    return ray.data.from_arrow(tables).map_batches(
        functools.partial(_features_of_batch, config=config), batch_size=CLIPS_PER_TASK, batch_format="pyarrow"
    ).materialize()  # fmt: skip


def features_digest(clips: Sequence[Clip], config: TrainConfig) -> str:
    """Digest of all that decides what :func:`decode_all` gives."""
    places = [clip.place for clip in clips]
    distortion = (config.seed, to_mapping(config.distortion)) if config.distortion else None
    drawn = isinstance(config.network.encoder, PretrainedConfig) and config.encoder_weights is None
    seed = config.seed if drawn else None
    parts = (places, to_mapping(config.network.encoder), config.encoder_weights, distortion, seed)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def unreadable(dataset: Any) -> dict[int, str]:
    """Rows that :func:`decode_all` could not read, with the reason."""
    found: dict[int, str] = {}
    for batch in dataset.select_columns(["row", "error"]).iter_batches(batch_size=None, batch_format="pyarrow"):
        errors = zip(batch["row"].to_pylist(), batch["error"].to_pylist(), strict=True)
        found |= {row: error for row, error in errors if error}
    return found


def unreadable_beforehand(clips: Sequence[Clip]) -> dict[int, str]:
    """Rows whose audio on a disk does not begin as it should, with the reason, without decoding the rest.

    Audio in other stores is not fetched for this: `emosphere prepare` has looked at it.
    """
    rows = [{"row": row, "clip": clip} for row, clip in enumerate(clips) if "://" not in clip.uri]
    if not rows:
        return {}
    dataset = ray.data.from_arrow(_tables(rows)).map_batches(
        _probe_batch, batch_size=CLIPS_PER_TASK, batch_format="pyarrow"
    )
    return unreadable(dataset)


def gather_features(dataset: Any, clips: Sequence[Clip], config: TrainConfig) -> InMemoryClips:
    """The clips that could be read, in the order of ``clips``."""
    versions: list[dict[int, Tensor]] = [{} for _ in range(num_versions(config))]
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for one in batch.to_pylist():
            if one["error"] is None:
                values = np.frombuffer(one["values"], np.float16).reshape(one["shape"])
                versions[one["version"]][one["row"]] = torch.from_numpy(values.copy())
    rows = sorted(versions[0])
    return InMemoryClips(
        tuple(clips[row] for row in rows),
        tuple(tuple(version[row] for row in rows) for version in versions),
        config.clips.categories,
    )


class StreamedClips:
    """Clips decoded anew whenever they are drawn, by Ray tasks ahead of the worker that wants them."""

    def __init__(self, clips: Sequence[Clip], config: TrainConfig) -> None:
        self.clips = clips
        self.num_versions = num_versions(config)
        self._config = config
        self._network: Network | None = None
        self._device = torch.device("cpu")
        self._stream: torch.cuda.Stream | None = None

    def use_front_end_of(self, network: Network) -> None:
        """From now on by the front end of ``network``, on its device."""
        self._network, self._device = network, next(network.parameters()).device
        if self._device.type == "cuda":
            # On the default one each clip would wait for the update that is being computed.
            self._stream = torch.cuda.Stream(self._device)
            self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def targets(self, rows: Sequence[int]) -> dict[str, Tensor]:
        return targets_of([self.clips[row] for row in rows], self._config.clips.categories)

    def num_frames(self, row: int) -> int:
        """In units of 16 ms, from the manifest's durations."""
        clip = self.clips[row]
        length_ms = clip.duration_ms if clip.end_ms is None else clip.end_ms - clip.start_ms
        longest_ms = round(1000 * MAX_CLIP_S)
        return max(min(length_ms or longest_ms, longest_ms) // 16, 1)

    def draw(self, picks: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        """In the order of ``picks``. Raises BadClip for a clip that cannot be read."""
        if not picks:
            return
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        rows = [{"row": row, "version": version, "clip": self.clips[row]} for row, version in picks]
        distort = functools.partial(_decode_batch, distortion=self._config.distortion, seed=self._config.seed)
        dataset = ray.data.from_arrow(_tables(rows)).map_batches(
            distort, batch_size=CLIPS_PER_TASK, batch_format="pyarrow"
        )
        tables: Iterable[pa.Table] = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=8)
        for table in tables:
            for one in table.to_pylist():
                if one["error"]:
                    raise BadClip(one["error"])
                waveform = np.frombuffer(one["values"], np.float32).copy()
                yield self._features(waveform)

    def _features(self, waveform: Waveform) -> Tensor:
        assert self._network is not None
        network = self._network
        with contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            # Rounded as memory would hold it, so that both ways learn the same.
            return clip_features(waveform, network.features, network.min_samples, self._device).half().float().cpu()


@functools.lru_cache(maxsize=1)
def _front_end(settings: str, weights: str | None, seed: int) -> Encoder:
    """The one that the network of ``seed`` begins with. One per process: it costs seconds to build a large one."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = from_mapping(NetworkConfig, json.loads(settings), source="network")
    encoder = build_encoder(network.encoder)
    if weights:
        cast(PretrainedEncoder, encoder).start_from(weights)
    return cast(Encoder, encoder.eval())


def _features_of_batch(batch: pa.Table, *, config: TrainConfig) -> pa.Table:
    front_end = _front_end(json.dumps(to_mapping(config.network)), config.encoder_weights, config.seed)
    found: list[dict[str, Any]] = []
    for row, clip in _clips_of(batch):
        try:
            clean = read_clip(clip)
        except BadClip as error:
            found.append(_result(row, 0, None, str(error)))
            continue
        for version in range(num_versions(config)):
            waveform = version_of(clean, clip, version, config.distortion, config.seed)
            values = clip_features(waveform, front_end.features, front_end.min_samples).half().numpy()
            found.append(_result(row, version, values, None))
    return pa.Table.from_pylist(found, schema=_RESULT)


def _probe_batch(batch: pa.Table) -> pa.Table:
    found = []
    for row, clip in _clips_of(batch):
        try:
            read_clip(clip, max_s=PROBE_S)
        except BadClip as error:
            found.append(_result(row, 0, None, str(error)))
    return pa.Table.from_pylist(found, schema=_RESULT)


def _decode_batch(batch: pa.Table, *, distortion: DistortionConfig | None, seed: int) -> pa.Table:
    found = []
    for (row, clip), version in zip(_clips_of(batch), batch["version"].to_pylist(), strict=True):
        try:
            found.append(_result(row, version, version_of(read_clip(clip), clip, version, distortion, seed), None))
        except BadClip as error:
            found.append(_result(row, version, None, str(error)))
    return pa.Table.from_pylist(found, schema=_RESULT)


_RESULT = pa.schema(
    {
        "row": pa.int64(),
        "version": pa.int64(),
        "shape": pa.list_(pa.int64()),
        "values": pa.large_binary(),
        "error": pa.string(),
    }
)


def _result(row: int, version: int, values: Any, error: str | None) -> dict[str, Any]:
    shape = [] if values is None else list(values.shape)
    return {
        "row": row,
        "version": version,
        "shape": shape,
        "values": None if values is None else values.tobytes(),
        "error": error,
    }


def _tables(rows: Sequence[dict[str, Any]]) -> list[pa.Table]:
    """Rows as tables of one task each."""
    plain = [{**row, "clip": json.dumps(to_mapping(row["clip"]))} for row in rows]
    return [pa.Table.from_pylist(plain[at : at + CLIPS_PER_TASK]) for at in range(0, len(plain), CLIPS_PER_TASK)]


def _clips_of(batch: pa.Table) -> list[tuple[int, Clip]]:
    texts = zip(batch["row"].to_pylist(), batch["clip"].to_pylist(), strict=True)
    return [(row, Clip(**{**(values := json.loads(text)), "vad": tuple(values["vad"])})) for row, text in texts]
