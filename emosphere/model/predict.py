"""Waveforms in, answers out: the only place that runs a trained network."""

import copy
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt
import torch

from emosphere.model.architecture import Precision
from emosphere.model.checkpoint import Checkpoint
from emosphere.model.cut_batches import cut_batches
from emosphere.model.fast.encoder import quicken

Float32 = npt.NDArray[np.float32]


Prediction = dict[str, Float32]
"""By head, what it publishes: (n, numbers), one row per waveform in the order given. See ``Task.published``."""


class Predictor:
    """Holds one network on one device. A clip's scores do not depend on what it is batched with."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "cpu",
        batch_s: float = 160.0,
        precision: Precision = "float32",
        threads: Executor | None = None,
    ) -> None:
        """``batch_s``: seconds of audio, padding included, that go through the network at once.

        ``precision`` is that of a pretrained encoder. In bfloat16 scores moved by up to 0.008 where that was measured,
        and by 0.001 with what a clip was batched with (docs/benchmarks.md); in float32 the latter is below 1e-5.

        ``threads``: threads that compute batches side by side, instead of the calling one; may be shared.
        """
        self.checkpoint = checkpoint
        self._device = torch.device(device)
        self._network = checkpoint.network.to(self._device).eval()
        self._encoders = [
            {name: quicken(encoder, precision) for name, encoder in member.encoders.items()}
            for member in self._network.members
        ]
        self._batch_samples = int(batch_s * checkpoint.config.sample_rate_hz)
        self._max_samples = int(checkpoint.config.max_clip_s * checkpoint.config.sample_rate_hz)
        self._threads = threads
        self.num_samples = 0
        """Samples that went through the network so far, padding included."""
        self.num_padding = 0
        """How many of these were padding."""

    def another(self) -> "Predictor":
        """One more for another thread: the same network in memory, figures of its own."""
        other = copy.copy(self)
        other.num_samples = other.num_padding = 0
        return other

    def predict(self, waveforms: Sequence[npt.NDArray[np.float32]]) -> Prediction:
        """Score 1-D waveforms at 16 kHz, each of at most ``max_clip_s`` seconds; any number of them.

        Raises ValueError for another shape, a longer clip, or samples that are not finite.
        """
        self._check(waveforms)
        tasks, predicted = self._network.tasks, Prediction()
        batches = cut_batches([len(waveform) for waveform in waveforms], self._batch_samples)
        clips = [[waveforms[row] for row in rows] for rows in batches]
        for batch in clips:
            num_samples = len(batch) * max(self._num_samples(batch))
            self.num_samples += num_samples
            self.num_padding += num_samples - sum(len(waveform) for waveform in batch)
        all_answers = (map if self._threads is None else self._threads.map)(self._answers, clips)
        for rows, answers in zip(batches, all_answers, strict=True):
            for name, task in tasks.items():
                values = task.published(answers[name]).cpu().numpy()
                predicted.setdefault(name, np.zeros((len(waveforms), values.shape[1]), np.float32))[rows] = values
        return predicted or {name: np.zeros((0, task.outputs), np.float32) for name, task in tasks.items()}

    @torch.inference_mode()
    def _answers(self, waveforms: Sequence[npt.NDArray[np.float32]]) -> dict[str, torch.Tensor]:
        num_samples = self._num_samples(waveforms)
        padded = np.zeros((len(waveforms), max(num_samples)), np.float32)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform
        on_device = torch.from_numpy(padded).to(self._device)
        lengths = torch.tensor(num_samples, device=self._device)
        features = {name: encoder.features(on_device, lengths) for name, encoder in self._encoders[0].items()}
        return self._network.answers(self._network.embed(features, self._encoders))

    def _num_samples(self, waveforms: Sequence[npt.NDArray[np.float32]]) -> list[int]:
        """Of the waveforms as they go through the network, none shorter than one frame."""
        return [max(len(waveform), self._network.min_samples) for waveform in waveforms]

    def _check(self, waveforms: Sequence[npt.NDArray[np.float32]]) -> None:
        for row, waveform in enumerate(waveforms):
            if waveform.ndim != 1:
                raise ValueError(f"waveform {row} has shape {waveform.shape}; wanted one channel, (samples,).")
            if len(waveform) > self._max_samples:
                raise ValueError(
                    f"waveform {row} has {len(waveform)} samples, the model hears at most {self._max_samples} at "
                    "once; cut it into segments first."
                )
            if not np.isfinite(waveform).all():
                raise ValueError(f"waveform {row} holds NaN or infinity.")
