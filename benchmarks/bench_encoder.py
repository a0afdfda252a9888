"""How fast is the encoder, beside transformers' and torchaudio's with the same weights, and how near to the machine?

Random weights of the published shape, windows of one length, no heads. All engines run in turn, round after round, so
that what else the machine does meets them alike; the ratio is the median over rounds. Engines in one precision must
give the same frames. Processor seconds are counted beside wall seconds: with one thread they hardly depend on what else
runs. A precision that this processor has no instructions for is left out unless --precisions names it.
Writes benchmarks/results/DATE-encoder-KIND-SIZE-NCPU.md.
"""

import argparse
import copy
import datetime
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torchaudio.models.wav2vec2.utils import import_huggingface_model

from emosphere.model.architecture import PretrainedConfig
from emosphere.model.fast.encoder import DTYPES, has_fast_bfloat16, quicken
from emosphere.model.pretrained import PretrainedEncoder

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ = 16_000
Work = Callable[[], torch.Tensor]


def engines_of(encoder: PretrainedEncoder, waveforms: torch.Tensor, precision: str) -> dict[str, Work]:
    """Each implementation from the same normalised waveforms to its last hidden states."""
    dtype = DTYPES[precision]
    lengths = torch.full([len(waveforms)], waveforms.shape[1])
    normal = encoder.normalise(waveforms, lengths).to(dtype)
    plain = copy.deepcopy(encoder.model).to(dtype)
    audio = import_huggingface_model(encoder.model).eval().to(dtype)
    fast = quicken(encoder, precision)
    return {
        "transformers": lambda: plain(normal).last_hidden_state,
        "torchaudio": lambda: audio(normal)[0],
        "emosphere": lambda: fast(fast.features(waveforms, lengths)).values,
    }


def flops_of(config: Any, seconds: float) -> float:
    """Multiplications and additions of one window's products, convolutions and attention; ``config``: transformers'."""
    length, channels, flops = int(seconds * RATE_HZ), 1, 0
    for wide, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        length = (length - kernel) // stride + 1
        flops += 2 * length * kernel * channels * wide
        channels = wide
    width = config.hidden_size
    position = config.num_conv_pos_embeddings * width // config.num_conv_pos_embedding_groups
    layer = 4 * width + 2 * config.intermediate_size + 2 * length
    return flops + 2 * length * width * (channels + position + config.num_hidden_layers * layer)


def matrix_of(dtype: torch.dtype, size: int) -> Work:
    """The product of two square matrices: the rate that nothing beats."""
    left, right = torch.randn(2, size, size).to(dtype)
    return lambda: left @ right


def timed(work: Work) -> tuple[float, float, torch.Tensor]:
    """Wall seconds, processor seconds, result."""
    wall, busy = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - busy, result


def measure(precision: str, arguments: argparse.Namespace, encoder: PretrainedEncoder, wanted: torch.Tensor | None):
    """Table rows for one precision, and the exact frames, which the next is compared with."""
    waveforms = 0.1 * torch.randn(arguments.clips, int(arguments.seconds * RATE_HZ))
    if wanted is not None:
        waveforms = arguments.waveforms
    arguments.waveforms = waveforms
    engines = engines_of(encoder, waveforms, precision)
    matrix = matrix_of(DTYPES[precision], arguments.matrix)
    audio_s = arguments.clips * arguments.seconds
    gflop = flops_of(encoder.model.config, arguments.seconds) * arguments.clips / 1e9
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ["matrix product", *engines]}
    difference: dict[str, float] = {}
    for turn in range(arguments.rounds + 1):  # the first warms up
        for name, work in {"matrix product": matrix, **engines}.items():
            wall_s, busy_s, result = timed(work)
            if turn:
                spent[name].append((wall_s, busy_s))
            elif name != "matrix product":
                wanted = result.float() if wanted is None else wanted
                difference[name] = float((result.float() - wanted).square().mean().sqrt() / wanted.std())
            del result
    rows = []
    matrix_gflop = 2 * arguments.matrix**3 / 1e9
    for name, times in spent.items():
        done = matrix_gflop if name == "matrix product" else gflop
        walls, busys = zip(*times, strict=True)
        rates = [done / wall for wall in walls]
        share = [busy / own for (_, busy), (_, own) in zip(spent["matrix product"], times, strict=True)]
        ratio = [
            [one[kind] / own[kind] for one, own in zip(spent["transformers"], times, strict=True)] for kind in (0, 1)
        ]
        values = [precision, name, f"{statistics.median(walls):.2f}", f"{statistics.median(busys):.2f}"]
        if name == "matrix product":
            values += ["", f"{statistics.median(rates):.0f}", f"{done / statistics.median(busys):.0f}", "", "", "", ""]
        else:
            values += [
                f"{audio_s / statistics.median(walls):.1f}",
                f"{statistics.median(rates):.0f}",
                f"{done / statistics.median(busys):.0f}",
                f"{100 * statistics.median(share) * done / matrix_gflop:.0f} %",
                f"{statistics.median(ratio[0]):.2f} ({min(ratio[0]):.2f} to {max(ratio[0]):.2f})",
                f"{statistics.median(ratio[1]):.2f} ({min(ratio[1]):.2f} to {max(ratio[1]):.2f})",
                f"{difference[name]:.1e}",
            ]
        rows.append("| " + " | ".join(values) + " |")
        print(rows[-1], flush=True)
    return rows, wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="wavlm", choices=["wavlm", "wav2vec2", "hubert"])
    parser.add_argument("--size", default="base", choices=["base", "large"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--matrix", type=int, default=4096, help="rows of the matrices whose product is the limit")
    parser.add_argument("--precisions", nargs="+", choices=list(DTYPES))
    arguments = parser.parse_args()
    has_bfloat16 = has_fast_bfloat16(torch.device("cpu"))
    precisions = arguments.precisions or (list(DTYPES) if has_bfloat16 else ["float32"])
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    lines = [
        "| precision | | wall s | processor s | audio s per s | GFLOP/s | GFLOP per processor s "
        "| share of the matrix rate | transformers' wall s / own | transformers' processor s / own "
        "| relative RMS difference |",
        "| --- " * 11 + "|",
    ]
    loads = [os.getloadavg()[0]]
    with torch.inference_mode():
        encoder = PretrainedEncoder(PretrainedConfig(kind=arguments.kind, size=arguments.size)).eval()
        wanted = None
        for precision in precisions:
            rows, wanted = measure(precision, arguments, encoder, wanted)
            lines += rows
    loads.append(os.getloadavg()[0])
    if "bfloat16" not in precisions:
        lines += ["", "bfloat16 was left out: this processor has no instructions for it (neither AMX nor AVX512-BF16)."]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    options = " ".join(
        f"--{name} {value}" for name, value in vars(arguments).items() if name not in ("waveforms", "precisions")
    )
    head = (
        f"# Encoder: transformers, torchaudio, emosphere\n\n`python benchmarks/{Path(__file__).name} {options}`, "
        f"commit {commit}, {datetime.date.today()}, {os.cpu_count()} CPUs ({cpu[1] if cpu else platform.processor()}), "
        f"torch {torch.__version__}. Load average {loads[0]:.1f} at the beginning, {loads[1]:.1f} at the end: "
        "where it is above the number of threads, other work took part of the machine, and processor seconds count.\n\n"
    )
    name = f"{datetime.date.today()}-encoder-{arguments.kind}-{arguments.size}-{arguments.threads}threads"
    target = ROOT / "benchmarks/results" / f"{name}-{os.cpu_count()}cpu.md"
    target.write_text(head + "\n".join(lines) + "\n")
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
