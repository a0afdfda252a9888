"""How far does bfloat16 move valence, arousal and dominance, and how much do answers then depend on the batch?

Real clips, an encoder of the published shape with random weights (no published weights lie here), and a ridge
regression from its mean frames to the clips' labels as head: what it answers spreads as labels do, and random features
are no easier on rounding than trained ones are known to be. Where the processor has no bfloat16 instructions, their
products are emulated as the instructions do them: factors rounded to bfloat16, sums in float32, results rounded.
Writes benchmarks/results/DATE-precision-KIND-SIZE.md.
"""

import argparse
import csv
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from emosphere.audio.decoding.decode import DecodeLimits, open_recording
from emosphere.audio.resample import MODEL_RATE_HZ
from emosphere.emotion_words import MEAN_VAD, weak_vad
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.encoder import Encoder
from emosphere.model.fast.encoder import has_fast_bfloat16, quicken
from emosphere.model.frames import mean_over_frames
from emosphere.model.pretrained import PretrainedEncoder
from emosphere.vad import VAD_DIMS

ROOT = Path(__file__).resolve().parents[1]
PRODUCTS = {
    torch.nn.functional.linear,
    torch.nn.functional.conv1d,
    torch.nn.functional.scaled_dot_product_attention,
    torch.addmm,
    torch.Tensor.addmm_,
    torch.Tensor.__matmul__,
    torch.Tensor.matmul,
}


class ProductsOfBfloat16(TorchFunctionMode):
    """Products of bfloat16 by way of float32, in which each product of two bfloat16 numbers is exact."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] = {}
    ) -> Any:
        if func not in PRODUCTS or not any(_is_short(arg) for arg in args):
            return func(*args, **kwargs)
        result = func(*map(_widen, args), **{name: _widen(value) for name, value in kwargs.items()}).bfloat16()
        return args[0].copy_(result) if func is torch.Tensor.addmm_ else result


def _is_short(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16


def _widen(value: Any) -> Any:
    return value.float() if _is_short(value) else value


def clips_and_labels(count: int, seconds: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips spread over the manifest, cut to between half of ``seconds`` and all of it; VAD by their emotion."""
    folder = ROOT.parent / "shared/data"
    with (folder / "emotion/manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["emotion"] in MEAN_VAD]
    rows = [rows[index] for index in np.linspace(0, len(rows) - 1, count).astype(int)]
    clips = []
    for number, row in enumerate(rows):
        wave = np.concatenate(list(open_recording(str(folder / row["path"]), limits=DecodeLimits())), axis=1)[0]
        clips.append(wave[: int(seconds * MODEL_RATE_HZ * (0.5 + 0.5 * number / count))])
    return clips, np.array([weak_vad(row["emotion"], row["intensity"]) for row in rows])


def vectors(encoder: Encoder, clips: Sequence[np.ndarray], batch: int) -> np.ndarray:
    """Mean frame of each clip, heard in batches of ``batch`` with clips of similar length."""
    vector_by_clip = {}
    order = sorted(range(len(clips)), key=lambda index: len(clips[index]))
    for begin in range(0, len(order), batch):
        rows = order[begin : begin + batch]
        lengths = [len(clips[row]) for row in rows]
        padded = torch.zeros(len(rows), max(lengths))
        for line, row in zip(padded, rows, strict=True):
            line[: len(clips[row])] = torch.from_numpy(clips[row])
        features = encoder.features(padded, torch.tensor(lengths))
        vector_by_clip |= dict(zip(rows, mean_over_frames(encoder(features)).numpy(), strict=True))
        print(f"{len(vector_by_clip)} of {len(clips)} clips", flush=True)
    return np.stack([vector_by_clip[row] for row in range(len(clips))])


def ridge(features: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Answers from features: linear in the standardised ones, with a penalty as heavy as all clips together."""
    mean, deviation, middle = features.mean(axis=0), features.std(axis=0), labels.mean(axis=0)
    scaled = (features - mean) / deviation
    # Solved for the clips, of which there are fewer than features.
    weights = scaled.T @ np.linalg.solve(scaled @ scaled.T + len(scaled) * np.eye(len(scaled)), labels - middle)
    return lambda given: (given - mean) / deviation @ weights + middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="wavlm", choices=["wavlm", "wav2vec2", "hubert"])
    parser.add_argument("--size", default="base", choices=["base", "large"])
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    encoder = PretrainedEncoder(PretrainedConfig(kind=arguments.kind, size=arguments.size)).eval()
    clips, labels = clips_and_labels(arguments.clips, arguments.seconds)
    exact, near = quicken(encoder), quicken(encoder, "bfloat16")
    is_emulated = not has_fast_bfloat16(torch.device("cpu"))
    with torch.no_grad():
        wanted = vectors(exact, clips, arguments.batch)
        wanted_alone = vectors(exact, clips, 1)
        with ProductsOfBfloat16() if is_emulated else torch.no_grad():
            rounded = vectors(near, clips, arguments.batch)
            rounded_alone = vectors(near, clips, 1)
    answer = ridge(wanted, labels)
    answers = answer(wanted)
    rows = {
        "bfloat16 against float32": answer(rounded) - answers,
        "float32, alone against in a batch": answer(wanted_alone) - answers,
        "bfloat16, alone against in a batch": answer(rounded_alone) - answer(rounded),
    }
    lines = ["| largest (median) change | " + " | ".join(VAD_DIMS) + " |", "| --- " * 4 + "|"]
    for name, change in rows.items():
        size = np.abs(change)
        values = (f"{size[:, dim].max():.1e} ({np.median(size[:, dim]):.1e})" for dim in range(3))
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    spread = ", ".join(f"{dim} {answers[:, index].std():.2f}" for index, dim in enumerate(VAD_DIMS))
    how = "emulated (this processor has no such instructions)" if is_emulated else "the processor's own"
    options = " ".join(f"--{name} {value}" for name, value in vars(arguments).items())
    head = (
        f"# What bfloat16 changes\n\n`python benchmarks/{Path(__file__).name} {options}`, {datetime.date.today()}, "
        f"torch {torch.__version__}; bfloat16 products: {how}. Random weights; ridge regression to the labels as "
        f"head; its answers deviate by {spread} over the clips.\n\n"
    )
    target = ROOT / "benchmarks/results" / f"{datetime.date.today()}-precision-{arguments.kind}-{arguments.size}.md"
    target.write_text(head + "\n".join(lines) + "\n")
    print("\n".join(lines) + f"\nwritten to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
