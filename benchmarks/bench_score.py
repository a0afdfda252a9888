"""How many seconds of audio does `emosphere score` do per wall second, in how much memory, and where does time go?

One recording of 1 h and one of 10 h, each as WAV, FLAC and MP3, made from the shared real recordings; the default
model; the command as a user types it, start-up included. Writes benchmarks/results/DATE-score-NCPU.md.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

from emosphere.audio.decoding.decode import DecodeLimits, open_recording

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["composite_long.mp3", "ami_meetings_5min.opus", "librivox_de.mp3", "librivox_es.mp3", "call_phone_8k.wav"]


def material() -> np.ndarray:
    """About 25 minutes of real speech, music and noise at 16 kHz."""
    folder = ROOT.parent / "shared/data/longform"
    waves = [
        np.concatenate(list(open_recording(str(folder / name), limits=DecodeLimits())), axis=1)[0] for name in SOURCES
    ]
    return np.concatenate(waves)


def write(path: Path, hours: float, wave: np.ndarray) -> None:
    """Write ``hours`` of audio, the material over and over at slightly changing level, without holding it in memory."""
    left = int(hours * 3600 * 16_000)
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        turn = 0
        while left > 0:
            part = wave[:left] * (0.7 + 0.3 * ((turn * 7) % 10) / 10)
            file.write(part)
            left -= len(part)
            turn += 1


class PeakMemory(threading.Thread):
    """Largest proportional set size (shared pages counted once) of a process and all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mib, self.by_name = pid, 0.0, {}

    def run(self) -> None:
        while Path(f"/proc/{self.pid}").exists():
            sizes: dict[str, float] = {}
            for pid in self._tree():
                try:
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    name = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                except OSError:
                    continue
                match = re.search(r"^Pss:\s+(\d+)", rollup, re.M)
                kinds = {"ray::MapWorker": "scoring actor", "decoding.child_main": "decoder"}
                kind = next((kinds[mark] for mark in kinds if mark in name), "Ray and driver")
                sizes[kind] = sizes.get(kind, 0) + (int(match[1]) / 1024 if match else 0)
            if sum(sizes.values()) > self.peak_mib:
                self.peak_mib = sum(sizes.values())
            for kind, size in sizes.items():
                self.by_name[kind] = max(self.by_name.get(kind, 0), size)
            time.sleep(1)

    def _tree(self) -> list[int]:
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        tree, known = [self.pid], {self.pid}
        while more := [pid for pid, parent in parents.items() if parent in known and pid not in known]:
            tree += more
            known |= set(more)
        return tree


def run(archive: Path, *options: str) -> dict:
    """One `emosphere score` into a fresh OUT."""
    out = Path(tempfile.mkdtemp(prefix="emosphere-bench-"))
    command = [sys.executable, "-m", "jobs.score", str(archive), "--out", str(out), "--json", *options]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    memory = PeakMemory(process.pid)
    memory.start()
    stdout, stderr = process.communicate()
    wall_s = time.monotonic() - began
    memory.join()
    shutil.rmtree(out)
    assert process.returncode == 0, stderr[-2000:]
    result = json.loads(stdout.splitlines()[-1])
    shares = re.search(r"busy=([\d.]+) s: waiting for decoders (\d+) %, finding speech (\d+) %, model (\d+) %", stderr)
    return {"wall_s": wall_s, "audio_s": result["audio_s"], "segments": result["segments"], "peak_mib": memory.peak_mib,
            "by_name": memory.by_name, "shares": shares.groups() if shares else ("?",) * 4}  # fmt: skip


def memory_and_busy(done: dict, peak_mib: float) -> str:
    """Two columns about a run: peak MiB, also by kind of process, and how the actors' time was spent."""
    kinds = "/".join(f"{done['by_name'].get(kind, 0):.0f}" for kind in ("scoring actor", "decoder", "Ray and driver"))
    busy, *shares = done["shares"]
    return f"{peak_mib:.0f} ({kinds}) | {busy}: {', '.join(f'{share} %' for share in shares)}"


def machine() -> str:
    """Commit, day and processor of a result."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"commit {commit}, {datetime.date.today()}, {os.cpu_count()} CPUs ({cpu[1] if cpu else platform.processor()})"
    )


def save(name: str, head: str, lines: list[str]) -> None:
    """Write a result below benchmarks/results."""
    target = ROOT / "benchmarks/results" / f"{datetime.date.today()}-{name}-{os.cpu_count()}cpu.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(f"{head}\n\n" + "\n".join(lines) + "\n")
    print(f"written to {target.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--formats", nargs="+", default=["wav", "flac", "mp3"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--material", type=Path, help="keep the recordings here and use those that are there already")
    arguments = parser.parse_args()
    lines = ["| audio | format | wall s (median) | spread s | audio s per s | peak MiB (actor/decoder/Ray and driver) "
             "| busy s: wait, speech, model |",
             "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.material or Path(scratch)
        wave = material()
        cases = [(hours, ending) for hours in arguments.hours for ending in arguments.formats]
        one = Path(folder) / "one.wav"
        soundfile.write(one, wave[: 16_000 * 10], 16_000)
        for hours, ending in [(0, "one 10 s WAV"), *cases]:
            path = one
            if hours:
                path = Path(folder) / f"{hours:g}h.{ending}"
                if not path.exists():
                    write(path, hours, wave)
            runs = [run(path) for _ in range(arguments.repeats)]
            walls = [each["wall_s"] for each in runs]
            last = runs[-1]
            lines.append(
                f"| {f'{hours:g} h' if hours else 'start-up'} | {ending} | {statistics.median(walls):.1f} | "
                f"{max(walls) - min(walls):.1f} | {last['audio_s'] / statistics.median(walls):.0f} | "
                f"{memory_and_busy(last, max(each['peak_mib'] for each in runs))} |"
            )
            print(lines[-1], flush=True)
            if hours and arguments.material is None:
                path.unlink()
    words = (f"--{name} {' '.join(map(str, given)) if isinstance(given, list) else given}" for name, given in
             vars(arguments).items() if name != "material")  # fmt: skip
    options = " ".join(words)
    head = (
        f"# Score: audio per wall second\n\n`python benchmarks/{Path(__file__).name} {options}`, {machine()}, Python "
        f"{platform.python_version()}. Runs per row: {arguments.repeats}; start-up included."
    )
    save("score-" + "-".join(f"{hours:g}h" for hours in arguments.hours), head, lines)


if __name__ == "__main__":
    main()
