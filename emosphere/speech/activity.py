"""Where somebody speaks: silero-vad's network over whole batches of audio at once.

The network is that of the silero-vad wheel (MIT), fed in one piece instead of 32 ms by 32 ms. Its weights are taken out
of the wheel's TorchScript model, the one silero's own functions load; the safetensors file beside it holds another,
older training. The package itself is not imported.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emosphere.speech.activity_weights import activity_weights
from emosphere.speech.cells import Cell

FRAME: Final = 512
"""Samples per probability: 32 ms at 16 kHz."""
CONTEXT: Final = 64
"""Samples of the frame before that go into the network with each frame."""
WINDOW: Final = 256
"""Samples of one short-time spectrum; four of them, 128 samples apart, make up a frame."""
FRAMES_AT_ONCE: Final = 2048
"""Frames that pass the convolutions together: about 20 MB of working memory, least time where it was tried."""

_CUDNN_FLAGS = threading.Lock()
"""They are the whole process's; who sets them back must be the one who set them."""

LEVEL_DB: Final = -20.0
GAIN_RANGE_DB: Final = (-20.0, 50.0)


class SpeechActivity(nn.Module):
    """Probability of speech in each 32 ms of 16 kHz audio."""

    window: Tensor

    def __init__(self) -> None:
        """Build the network with the weights of the installed silero-vad wheel."""
        super().__init__()
        weights = activity_weights()
        self.register_buffer("window", torch.hann_window(WINDOW))
        self.encoder = nn.Sequential(
            *(
                _Convolution(weights[f"{name}.weight"], weights[f"{name}.bias"], positions, stride)
                for name, positions, stride in (
                    ("_model.encoder.0.reparam_conv", 4, 1),
                    ("_model.encoder.1.reparam_conv", 4, 2),
                    ("_model.encoder.2.reparam_conv", 2, 2),
                    ("_model.encoder.3.reparam_conv", 1, 1),
                )
            )
        )
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.lstm.load_state_dict({name: weights[f"_model.decoder.rnn.{name[:-3]}"] for name in self.lstm.state_dict()})
        self.head = nn.Linear(128, 1)
        self.head.load_state_dict(
            {
                "weight": weights["_model.decoder.decoder.2.weight"].squeeze(-1),
                "bias": weights["_model.decoder.decoder.2.bias"],
            }
        )
        self.requires_grad_(False).eval()

    def probabilities(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """For each wave (1-D, 16 kHz) one probability per begun 512 samples, in [0, 1].

        The network starts afresh at the beginning of each wave; the last frame is completed with silence.
        """
        counts = [-(-len(wave) // FRAME) for wave in waves]
        if not sum(counts):
            return [np.zeros(0, dtype=np.float32) for _ in waves]
        with torch.inference_mode(), self._unrounded():
            features = [self._features(wave, count) for wave, count in zip(waves, counts, strict=True)]
            padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
            states, _ = self.lstm(padded)
            speech = torch.sigmoid(self.head(torch.relu(states))).squeeze(-1)
        return [row[:count].cpu().numpy() for row, count in zip(speech, counts, strict=True)]

    @contextlib.contextmanager
    def _unrounded(self) -> Iterator[None]:
        """A GPU would round the products of the LSTM to 10 bits: other segments than on a CPU."""
        if self.window.device.type != "cuda":
            yield
            return
        with _CUDNN_FLAGS, torch.backends.cudnn.flags(allow_tf32=False):
            yield

    def _features(self, wave: NDArray[np.float32], num_frames: int) -> Tensor:
        """What goes into the LSTM, (frames, 128). Frames are independent of each other here."""
        if num_frames == 0:
            return torch.zeros(0, self.lstm.input_size, device=self.window.device)
        padded = np.zeros(CONTEXT + num_frames * FRAME, dtype=np.float32)
        padded[CONTEXT : CONTEXT + len(wave)] = wave
        frames = torch.from_numpy(padded).to(self.window.device).unfold(0, CONTEXT + FRAME, FRAME)
        return torch.cat([self._encode(part) for part in torch.split(frames, FRAMES_AT_ONCE)])

    def _encode(self, frames: Tensor) -> Tensor:
        """(n, 576) samples -> (n, 128). The wheel's basis of 258 filters is a Hann window times the Fourier basis."""
        reflected = nn.functional.pad(frames, (0, CONTEXT), mode="reflect")
        spectra = torch.fft.rfft(reflected.unfold(1, WINDOW, WINDOW // 2) * self.window)
        magnitudes = (spectra.real.square() + spectra.imag.square()).sqrt_()
        encoded: Tensor = self.encoder(magnitudes.flatten(1))
        return encoded


class _Convolution(nn.Module):
    """A convolution over the few positions of one frame (kernel 3, padding 1), and ReLU, as one matrix product per
    position over a view of its neighbours: nothing is copied or padded.

    In: (n, positions x in), out: (n, positions / stride x out).
    """

    def __init__(self, weight: Tensor, bias: Tensor, positions: int, stride: int) -> None:
        super().__init__()
        self.width_in, self.width_out = weight.shape[1], weight.shape[0]
        self.positions, self.stride = positions, stride
        self.register_buffer("taps", weight.permute(2, 1, 0).reshape(-1, self.width_out).contiguous())
        self.register_buffer("bias", bias)

    taps: Tensor
    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        centres = range(0, self.positions, self.stride)
        out = x.new_empty(len(x), len(centres) * self.width_out)
        for target, centre in zip(torch.split(out, self.width_out, dim=1), centres, strict=True):
            first, stop = max(centre - 1, 0), min(centre + 2, self.positions)
            own = self.taps[(first - centre + 1) * self.width_in : (stop - centre + 1) * self.width_in]
            torch.addmm(self.bias, x[:, first * self.width_in : stop * self.width_in], own, out=target)
        return out.relu_()


def speech_probabilities_of_cells(activity: SpeechActivity, cells: Sequence[Cell]) -> list[NDArray[np.float32]]:
    """Probabilities of each cell's own frames; its lead-in goes through the network and is not reported.

    Each cell is brought to one level first. The network misses quiet speech: of an address played at -40 dB it finds
    2 frames of 76, and of the AMI meetings 80 % of the speech instead of 85 %.
    """
    waves = [levelled(cell.samples) for cell in cells]
    # The network finds no speech in digital silence, which need not go through it.
    audible = [number for number, wave in enumerate(waves) if wave.any()]
    probabilities = [np.zeros(-(-len(wave) // FRAME), np.float32) for wave in waves]
    of_audible = activity.probabilities([waves[number] for number in audible])
    for number, frames in zip(audible, of_audible, strict=True):
        probabilities[number] = frames
    return [frames[cell.lead_in // FRAME :] for cell, frames in zip(cells, probabilities, strict=True)]


def levelled(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """``samples`` without their mean, amplified until the loudest twentieth of the frames begins at -20 dB.

    The gain lies between -20 and +50 dB; digital silence stays as it is.
    """
    centred = samples - np.float32(samples.mean(dtype=np.float64)) if len(samples) else samples
    whole = len(centred) // FRAME
    frames = centred[: whole * FRAME].reshape(whole, FRAME).astype(np.float64)
    loudness = np.percentile(np.sqrt(np.einsum("ij,ij->i", frames, frames) / FRAME), 95) if whole else 0.0
    if loudness <= 0:
        return centred
    gain_db = np.clip(LEVEL_DB - 20 * np.log10(loudness), *GAIN_RANGE_DB)
    return np.asarray(centred * np.float32(10 ** (gain_db / 20)), dtype=np.float32)
