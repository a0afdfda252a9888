"""What does an epoch of training cost, how much of it waits for data, and what does a second worker bring?

The bundled model's settings for a few epochs on the shared acted speech, with one worker and with two; clips held in
memory, and decoded anew in every epoch. Writes benchmarks/results/DATE-train-NCPU.md.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from emosphere.config import load_tables
from pipelines.train.command import train
from pipelines.train.log import LOG_NAME

ROOT = Path(__file__).resolve().parents[1]
CASES = [("memory", 1), ("memory", 2), ("stream", 1), ("stream", 2)]


def settings(folder: Path, hold: str, epochs: int) -> Path:
    """The bundled model's configuration, cut short."""
    base = ROOT / "jobs/configs/train/default.toml"
    assert load_tables(base)["clips"]
    path = folder / "bench.toml"
    path.write_text(
        f'base = "{base}"\nout = "{folder / "out"}"\nfolds = 0\ncard = ""\nsave_every = 100\n'
        f'[clips]\nmanifest = "{ROOT.parent / "shared/data/emotion/manifest.csv"}"\nhold = "{hold}"\nevaluate = []\n'
        f"[fit]\nepochs = {epochs}\n"
    )
    return path


def measure(hold: str, workers: int, epochs: int) -> list[str]:
    """One training, as a row of the table; the first epoch warms up and is left out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        train(settings(folder, hold, epochs), num_workers=workers)
        wall_s = time.monotonic() - began
        lines = [json.loads(line) for line in (folder / "out" / LOG_NAME).read_text().splitlines()][1:]
    rates = [line["clips_per_s"] for line in lines]
    waiting = statistics.median(line["waiting"] for line in lines)
    memory = max(line["peak_memory_mib"] for line in lines)
    spread = max(rates) - min(rates)
    return [
        hold,
        str(workers),
        f"{statistics.median(rates):.0f}",
        f"{spread:.0f}",
        f"{waiting:.1%}",
        str(memory),
        f"{wall_s:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    epochs = parser.parse_args().epochs
    header = [
        "clips",
        "workers",
        "clips per s (median)",
        "spread",
        "waiting for data",
        "peak MiB (worker)",
        "wall s of the command",
    ]
    lines = [header, ["---"] * len(header)]
    for hold, workers in CASES:
        lines.append(measure(hold, workers, epochs))
        print(lines[-1], file=sys.stderr, flush=True)
    cpus = os.cpu_count()
    text = f"python benchmarks/bench_train.py --epochs {epochs}; {platform.machine()}, {cpus} CPUs, no GPU\n\n"
    text += "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    print(text)
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    (ROOT / "benchmarks/results" / f"{date}-train-{cpus}cpu.md").write_text(text)


if __name__ == "__main__":
    main()
