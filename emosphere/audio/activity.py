"""Where somebody speaks: silero-vad's network over whole batches of audio at once.

The network is that of the silero-vad wheel (MIT), fed in one piece instead of 32 ms by 32 ms. Its weights are taken out
of the wheel's TorchScript model, the one silero's own functions load; the safetensors file beside it holds another,
older training. The package itself is not imported.
"""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emosphere.audio.cells import Cell

FRAME: Final = 512
"""Samples per probability: 32 ms at 16 kHz."""
CONTEXT: Final = 64
"""Samples of the frame before that each frame is heard with."""
MAX_FRAMES_AT_ONCE: Final = 4096
"""Frames that pass the convolutions together; about 130 MB of working memory."""

LEVEL_DB: Final = -20.0
GAIN_RANGE_DB: Final = (-20.0, 50.0)


class SpeechActivity(nn.Module):
    """Probability of speech in each 32 ms of 16 kHz audio."""

    def __init__(self) -> None:
        """Build the network with the weights of the installed silero-vad wheel."""
        super().__init__()
        self.stft = nn.Conv1d(1, 258, kernel_size=256, stride=128, bias=False)
        self.encoder = nn.Sequential(
            nn.Conv1d(129, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(128, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(64, 128, 3, padding=1),
            nn.ReLU(),
        )
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.head = nn.Linear(128, 1)
        self.load_state_dict(_in_our_names(_shipped_weights()))
        self.requires_grad_(False).eval()

    def probabilities(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """For each wave (1-D, 16 kHz) one probability per begun 512 samples, in [0, 1].

        The network starts afresh at the beginning of each wave; the last frame is completed with silence.
        """
        counts = [-(-len(wave) // FRAME) for wave in waves]
        if not sum(counts):
            return [np.zeros(0, dtype=np.float32) for _ in waves]
        with torch.inference_mode():
            features = [self._features(wave, count) for wave, count in zip(waves, counts, strict=True)]
            padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
            states, _ = self.lstm(padded)
            speech = torch.sigmoid(self.head(torch.relu(states))).squeeze(-1)
        return [row[:count].cpu().numpy() for row, count in zip(speech, counts, strict=True)]

    def _features(self, wave: NDArray[np.float32], num_frames: int) -> Tensor:
        """What the LSTM hears, (frames, 128). Frames are independent of each other here."""
        if num_frames == 0:
            return torch.zeros(0, self.lstm.input_size)
        padded = np.zeros(CONTEXT + num_frames * FRAME, dtype=np.float32)
        padded[CONTEXT : CONTEXT + len(wave)] = wave
        frames = torch.from_numpy(padded).unfold(0, CONTEXT + FRAME, FRAME)
        return torch.cat([self._encode(part) for part in torch.split(frames, MAX_FRAMES_AT_ONCE)])

    def _encode(self, frames: Tensor) -> Tensor:
        reflected = nn.functional.pad(frames.unsqueeze(1), (0, CONTEXT), mode="reflect")
        real, imaginary = self.stft(reflected).chunk(2, dim=1)
        encoded: Tensor = self.encoder(torch.sqrt(real.square() + imaginary.square()))
        return encoded.squeeze(-1)


def speech_probabilities_of_cells(activity: SpeechActivity, cells: Sequence[Cell]) -> list[NDArray[np.float32]]:
    """Probabilities of each cell's own frames; its lead-in is heard and not reported.

    Each cell is brought to one level first. The network misses quiet speech: of an address played at -40 dB it finds
    2 frames of 76, and of the AMI meetings 80 % of the speech instead of 85 %.
    """
    heard = activity.probabilities([levelled(cell.samples) for cell in cells])
    return [frames[cell.lead_in // FRAME :] for cell, frames in zip(cells, heard, strict=True)]


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


def _in_our_names(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = {"stft.weight": theirs["_model.stft.forward_basis_buffer"]}
    for layer in range(4):
        for part in ("weight", "bias"):
            weights[f"encoder.{2 * layer}.{part}"] = theirs[f"_model.encoder.{layer}.reparam_conv.{part}"]
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        weights[f"lstm.{part}_l0"] = theirs[f"_model.decoder.rnn.{part}"]
    weights["head.weight"] = theirs["_model.decoder.decoder.2.weight"].squeeze(-1)
    weights["head.bias"] = theirs["_model.decoder.decoder.2.bias"]
    return weights


def _shipped_weights() -> dict[str, Tensor]:
    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Speech activity needs the weights in the silero-vad wheel: pip install silero-vad")
    path = Path(spec.origin).parent / "data" / "silero_vad.jit"
    with warnings.catch_warnings():
        # torch wants new models to be exported otherwise; this is the only current form the wheel ships for torch.
        warnings.simplefilter("ignore", DeprecationWarning)
        weights: dict[str, Tensor] = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    return weights
