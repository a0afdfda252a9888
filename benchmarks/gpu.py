"""How many seconds of audio does the encoder do per second on this accelerator, and which share of its peak is that?

The encoder alone, on windows of one length that lie on the device already; random weights of the published shape. The
peak is measured in the same run, as the best product of two square matrices in that precision, and may be given
(--peak-tflops) as the vendor states it. Runs on a CPU as well, to see that it runs. Prints one line of JSON per batch
size; on a GPU a profile of the largest one, by kernel, with --profile.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from bench_encoder import RATE_HZ, flops_of

from emosphere.inference import default_device
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.fast.encoder import DTYPES, quicken
from emosphere.model.pretrained import PretrainedEncoder


def seconds_of(work: Callable[[], Any], device: torch.device, rounds: int) -> list[float]:
    """Wall seconds of each round, the device's own work included; the first, which warms up, is left out."""
    spent = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - began)
    return spent[1:]


def peak_of(dtype: torch.dtype, device: torch.device, size: int) -> float:
    """FLOP per second of the best of ten products of two square matrices."""
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    return 2 * size**3 / min(seconds_of(lambda: left @ right, device, 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="wavlm", choices=["wavlm", "wav2vec2", "hubert"])
    parser.add_argument("--size", default="large", choices=["base", "large"])
    parser.add_argument("--settings", type=json.loads, default={}, help="further settings of the encoder, as JSON")
    parser.add_argument("--precision", default="bfloat16", choices=list(DTYPES))
    parser.add_argument("--engines", nargs="+", default=["transformers", "emosphere"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clips", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--matrix", type=int, default=8192)
    parser.add_argument("--peak-tflops", type=float)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    device, dtype = torch.device(default_device()), DTYPES[arguments.precision]
    torch.manual_seed(0)
    config = PretrainedConfig(kind=arguments.kind, size=arguments.size, settings=arguments.settings)
    encoder = PretrainedEncoder(config).eval().to(device)
    fast = quicken(encoder, arguments.precision)
    flops = flops_of(encoder.model.config, arguments.seconds)
    encoder.model.to(dtype)  # a quickened encoder keeps weights of its own
    measured = peak_of(dtype, device, arguments.matrix)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    with torch.inference_mode():
        for clips in arguments.clips:
            waveforms = 0.1 * torch.randn(clips, int(arguments.seconds * RATE_HZ), device=device)
            lengths = torch.full([clips], waveforms.shape[1], device=device)
            engines: dict[str, Callable[[], Any]] = {
                "transformers": lambda given=waveforms: encoder.model(given.to(dtype)).last_hidden_state,
                "emosphere": lambda given=waveforms, lengths=lengths: fast(fast.features(given, lengths)).values,
            }
            for engine in arguments.engines:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                wall_s = statistics.median(seconds_of(engines[engine], device, arguments.rounds))
                rate = flops * clips / wall_s
                line = {
                    "device": name,
                    "engine": engine,
                    "precision": arguments.precision,
                    "clips": clips,
                    "audio_s_per_s": round(clips * arguments.seconds / wall_s, 1),
                    "tflops": round(rate / 1e12, 4),
                    "share_of_measured_peak": round(rate / measured, 3),
                    "measured_peak_tflops": round(measured / 1e12, 3),
                }
                if arguments.peak_tflops:
                    line["share_of_stated_peak"] = round(rate / 1e12 / arguments.peak_tflops, 3)
                if device.type == "cuda":
                    line["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
                print(json.dumps(line), flush=True)
        if arguments.profile:
            with torch.profiler.profile() as profile:
                seconds_of(engines[arguments.engines[-1]], device, 1)
            print(profile.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=20))


if __name__ == "__main__":
    main()
