"""The accelerator's benchmark runs, on a CPU with a tiny encoder, and counts work as PyTorch's counter does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from benchmarks.bench_encoder import flops_of
from tests.encoders import TINY


def test_it_prints_a_line_per_engine_and_batch(root: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--size", "base", "--settings", json.dumps(TINY), "--rounds", "2"]
    command += ["--seconds", "0.5", "--clips", "1", "2", "--matrix", "512", "--peak-tflops", "1", "--profile"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(line["engine"], line["clips"]) for line in lines] == [
        ("transformers", 1),
        ("emosphere", 1),
        ("transformers", 2),
        ("emosphere", 2),
    ]
    assert all(line["audio_s_per_s"] > 0 and line["measured_peak_tflops"] > 0 for line in lines)
    assert "Self CPU" in done.stdout


@pytest.mark.parametrize(
    ("settings", "gflop_per_s"),
    [
        ({}, 14.8),
        (
            {
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "intermediate_size": 4096,
            },
            38.4,
        ),
    ],
    ids=["base", "large"],
)
def test_work_is_counted_as_pytorch_counted_it(settings: dict[str, int], gflop_per_s: float) -> None:
    config = transformers.AutoConfig.for_model("wavlm", **settings)
    assert flops_of(config, 10.0) / 10 / 1e9 == pytest.approx(gflop_per_s, abs=0.05)
