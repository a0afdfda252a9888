"""What does it cost when waveforms go through Ray's object store, because the decoders stand apart from the model?

Recordings of an hour each, as WAV and as MP3, made from the shared real recordings; the default model; the same command
with `decode = "beside"` and `decode = "apart"`, in turn, start-up included. On one machine, so that no network is in it
and both have the same cores. Writes benchmarks/results/DATE-apart-NCPU.md.
"""

import argparse
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from bench_score import ROOT, material, run, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=4)
    parser.add_argument("--formats", nargs="+", default=["wav", "mp3"])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    lines = [
        "| audio | decoders | wall s (median) | spread s | audio s per s | wall / beside | peak MiB "
        "(actor/decoder/Ray and driver) | busy s: wait, speech, model |",
        "| --- " * 8 + "|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        wave = material()
        for ending in asked.formats:
            archive = Path(scratch) / ending
            archive.mkdir()
            write(archive / f"0.{ending}", 1, wave)
            for number in range(1, asked.hours):
                shutil.copyfile(archive / f"0.{ending}", archive / f"{number}.{ending}")
            runs: dict[str, list[dict]] = {"beside": [], "apart": []}
            for _ in range(asked.rounds):
                for where, done in runs.items():
                    settings = Path(scratch) / "settings.toml"
                    settings.write_text(f'[resources]\ndecode = "{where}"\n')
                    done.append(run(archive, "--config", str(settings)))
            shutil.rmtree(archive)
            beside = statistics.median(each["wall_s"] for each in runs["beside"])
            for where, done in runs.items():
                walls, last = [each["wall_s"] for each in done], done[-1]
                median = statistics.median(walls)
                kinds = "/".join(
                    f"{last['by_name'].get(kind, 0):.0f}" for kind in ("scoring actor", "decoder", "Ray and driver")
                )
                busy, *shares = last["shares"]
                lines.append(
                    f"| {asked.hours} h {ending} | {where} | {median:.1f} | {max(walls) - min(walls):.1f} | "
                    f"{last['audio_s'] / median:.0f} | {median / beside:.2f} | {last['peak_mib']:.0f} ({kinds}) | "
                    f"{busy}: {', '.join(f'{share} %' for share in shares)} |"
                )
                print(lines[-1], flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    head = (
        f"# Decoders beside the model, or apart\n\n`python benchmarks/{Path(__file__).name} --hours {asked.hours} "
        f"--formats {' '.join(asked.formats)} --rounds {asked.rounds}`, commit {commit}, {datetime.date.today()}, "
        f"{os.cpu_count()} CPUs ({cpu[1] if cpu else platform.processor()}). Both on one machine.\n\n"
    )
    target = ROOT / "benchmarks/results" / f"{datetime.date.today()}-apart-{os.cpu_count()}cpu.md"
    target.write_text(head + "\n".join(lines) + "\n")
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
