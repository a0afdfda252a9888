"""Clips through Ray Data anew in every epoch: for corpora that memory does not hold."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch

from emosphere.clips.augment import DistortionConfig, Waveform
from emosphere.clips.batches import clip_features, read_clip, targets_of, version_of
from emosphere.clips.manifest import Clip
from emosphere.errors import BadClip
from emosphere.model.description import MAX_CLIP_S
from emosphere.model.frames import ClipFeatures
from emosphere.model.network import Network
from emosphere.tasks import Target
from pipelines.train.arrow_clips import CLIPS_PER_TASK, DECODED, clip_tables, clips_of, decoded_row, unreadable_row
from pipelines.train.config import TrainConfig


class StreamedClips:
    """Clips decoded anew whenever they are drawn, by Ray tasks ahead of the worker that wants them."""

    def __init__(self, clips: Sequence[Clip], config: TrainConfig) -> None:
        self.clips = clips
        self.num_versions = config.num_versions
        self._config, self.tasks = config, config.tasks
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

    def targets(self, rows: Sequence[int]) -> dict[str, Target]:
        return targets_of([self.clips[row] for row in rows], self.tasks)

    def num_frames(self, row: int) -> int:
        """In units of 16 ms, from the manifest's durations."""
        clip = self.clips[row]
        length_ms = clip.duration_ms if clip.end_ms is None else clip.end_ms - clip.start_ms
        longest_ms = round(1000 * MAX_CLIP_S)
        return max(min(length_ms or longest_ms, longest_ms) // 16, 1)

    def draw(self, picks: Sequence[tuple[int, int]]) -> Iterator[ClipFeatures]:
        """In the order of ``picks``. Raises BadClip for a clip that cannot be read."""
        if not picks:
            return
        import ray

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        rows = [{"row": row, "version": version, "clip": self.clips[row]} for row, version in picks]
        distort = functools.partial(_decode_batch, distortion=self._config.distortion, seed=self._config.seed)
        dataset = ray.data.from_arrow(clip_tables(rows)).map_batches(
            distort, batch_size=CLIPS_PER_TASK, batch_format="pyarrow"
        )
        tables: Iterable[pa.Table] = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=8)
        for table in tables:
            for decoded in table.to_pylist():
                if decoded["error"]:
                    raise BadClip(decoded["error"])
                waveform = np.frombuffer(decoded["values"], np.float32).copy()
                yield self._features(waveform)

    def _features(self, waveform: Waveform) -> ClipFeatures:
        assert self._network is not None
        network = self._network
        with contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            # Rounded as memory would hold it, so that both ways learn the same.
            features = clip_features(waveform, network.features, network.min_samples, self._device)
            return {stream: frames.half().float().cpu() for stream, frames in features.items()}


def _decode_batch(batch: pa.Table, *, distortion: DistortionConfig | None, seed: int) -> pa.Table:
    rows = []
    for (row, clip), version in zip(clips_of(batch), batch["version"].to_pylist(), strict=True):
        try:
            waveform = version_of(read_clip(clip), clip, version, distortion, seed)
            rows.append(decoded_row(row, version, waveform))
        except BadClip as error:
            rows.append(unreadable_row(row, version, error))
    return pa.Table.from_pylist(rows, schema=DECODED)
