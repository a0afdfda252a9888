"""How fast is `emosphere score` beside its peers, and how near to the network's own time?

Plain Ray Data, Daft and a good script (benchmarks/peers/) score the same files with the same weights, each as a process
of its own, start-up included; once with transformers' encoder, as their users would, once with ours, so that the gain
of the engine and that of the encoder are told apart. "ideal" is the network alone on windows cut and sorted beforehand;
for the bundled model, for which that is the smaller part, also with the core seconds of decoding and cutting added.
All engines run in turn, round after round; start-up is what the same command takes for a single clip, the median over
the rounds, and is not measured for short archives, where the whole time is what counts. Answers are compared window by
window with those of "ideal". Writes benchmarks/results/DATE-peers-NAME-NCPU.md.

    python benchmarks/bench_peers.py                                # a large encoder, then the bundled model: one table
    python benchmarks/bench_peers.py --short                        # from one file of 10 s to two hours, whole times
    python benchmarks/bench_peers.py --model wavlm-base --cases clips --seconds 240
    python benchmarks/bench_peers.py --model default --cases podcasts --seconds 7200 --find-speech
"""

import argparse
import csv
import datetime
import importlib.util
import itertools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import soundfile
import torch

from emosphere.model.architecture import HeadConfig, NetworkConfig, PretrainedConfig, StylePoolingConfig
from emosphere.model.checkpoint import save_checkpoint
from emosphere.model.description import CheckpointConfig
from emosphere.model.find import BUNDLED
from emosphere.model.network import Network

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data"
KEYS = ["uri", "channel", "start_ms", "end_ms"]
ANSWERS = ["valence", "arousal", "dominance"]
PEERS = {"plain Ray Data": "ray_data", "Daft": "daft_files", "DataLoader script": "script"}
IDEAL, ALL_COUNTED = "ideal", "ideal, decoding and cutting counted"
TOLERANCE = 0.01
"""Largest difference in V, A, D between two engines' answers for one window: decoders round differently."""


def clips(folder: Path, seconds: float) -> None:
    """Utterances of the shared acted speech, those in FLAC: libsndfile decodes Opus at the rate it was coded from, the
    others at 48 kHz, so that answers would differ by the decoder, not by the engine.
    """
    with (DATA / "emotion/manifest.csv").open() as file:
        paths = [DATA / row["path"] for row in csv.DictReader(file) if row["path"].endswith(".flac")]
    paths = [paths[index] for index in np.random.default_rng(0).permutation(len(paths))]
    fill(folder, seconds, itertools.cycle(paths))


def podcasts(folder: Path, seconds: float) -> None:
    """Read books and a programme with music, in MP3, whole and over again."""
    names = ("composite_long", "librivox_de", "librivox_es", "librivox_sonnet_53s")
    names = names if seconds > 1000 else names[1:]
    fill(folder, seconds, itertools.cycle(DATA / f"longform/{name}.mp3" for name in names))


def calls(folder: Path, seconds: float) -> None:
    """Telephone calls at 8 kHz, one with a speaker on each channel."""
    names = ("stereo_call_mulaw_8k", "call_phone_8k")
    fill(folder, seconds, itertools.cycle(DATA / f"longform/{name}.wav" for name in names))


def hostile(folder: Path, seconds: float) -> None:
    """Utterances, of which 1 % are damaged, 1 % huge and 10 % silent."""
    clips(folder, seconds)
    for number, path in enumerate(sorted(folder.iterdir())):
        if number % 100 == 50:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif number % 100 == 51:
            shutil.copyfile(DATA / "longform/composite_long.mp3", path.with_suffix(".mp3"))
            path.unlink()
        elif number % 10 == 5:
            soundfile.write(path.with_suffix(".wav"), np.zeros(80_000), 16_000)
            if path.suffix != ".wav":
                path.unlink()


def one(folder: Path, seconds: float) -> None:
    """A single file in WAV."""
    folder.mkdir(parents=True)
    samples, rate_hz = soundfile.read(DATA / "longform/librivox_sonnet_53s.mp3", frames=60 * 48_000)
    soundfile.write(folder / "one.wav", samples[: int(seconds * rate_hz)], rate_hz)


CASES: dict[str, Callable[[Path, float], None]] = {
    "one": one, "clips": clips, "podcasts": podcasts, "calls": calls, "hostile": hostile,
}  # fmt: skip


class Race(NamedTuple):
    """One model over some archives."""

    model: str
    """default (the bundled one), or KIND-SIZE."""
    cases: list[str]
    seconds: float
    """Of audio in each archive, all channels."""
    find_speech: bool
    """For every engine; else windows are cut evenly."""
    is_whole: bool = False
    """Whether start-up is left in, and not measured."""


RACES = (
    Race("wavlm-base", ["clips", "podcasts"], 240.0, find_speech=False),
    Race("default", ["podcasts", "calls", "hostile"], 3600.0, find_speech=True),
)
"""What runs without --model."""

SHORT_RACES = (
    Race("default", ["one"], 10.0, find_speech=True, is_whole=True),
    Race("default", ["calls", "podcasts"], 1200.0, find_speech=True, is_whole=True),
    Race("default", ["podcasts"], 7200.0, find_speech=True, is_whole=True),
    Race("default", ["hostile"], 3600.0, find_speech=True, is_whole=True),
)
"""What runs with --short."""


def fill(folder: Path, seconds: float, paths: Iterator[Path]) -> None:
    """Copies of ``paths`` under numbered names until there are so many seconds of channels."""
    folder.mkdir(parents=True)
    for number in itertools.count():
        if seconds <= 0:
            return
        path = next(paths)
        seconds -= channel_seconds(path)
        shutil.copyfile(path, folder / f"{number:06d}{path.suffix}")


def channel_seconds(path: Path) -> float:
    """Of all channels together; 0 for what cannot be read."""
    try:
        info = soundfile.info(path)
    except soundfile.SoundFileError:
        return 0.0
    return float(info.duration * info.channels)


def model_folder(name: str, folder: Path) -> Path:
    """The bundled model, or random weights in the shape of a published encoder with the paper's heads."""
    if name == "default":
        return Path(BUNDLED)
    kind, size = name.split("-")
    torch.manual_seed(0)
    config = NetworkConfig(
        streams={"speech": PretrainedConfig(kind=kind, size=size)},
        pooling=StylePoolingConfig(kind="style"),
        heads={"vad": HeadConfig(), "region": HeadConfig()},
    )
    save_checkpoint(
        Network(config),
        folder,
        CheckpointConfig(network=config, name=name, licence="none"),
        card="Random weights for a benchmark.",
    )
    return folder


@dataclass
class Engine:
    """One engine with one encoder, and how its runs went."""

    name: str
    encoder: str
    walls: list[float] = field(default_factory=list)
    startups: list[float] = field(default_factory=list)
    answers: pd.DataFrame | None = None

    @property
    def is_ideal(self) -> bool:
        """Whether only its work is timed, not its process."""
        return self.name in (IDEAL, ALL_COUNTED)

    @property
    def startup_s(self) -> float:
        """Median of what a single clip takes."""
        return statistics.median(self.startups) if self.startups else 0.0

    @property
    def beyond(self) -> list[float]:
        """Seconds of each run beyond start-up."""
        return [wall - self.startup_s for wall in self.walls]

    def times(self, other: "Engine") -> float:
        """How many times as long as another engine it takes, beyond start-up; median over the rounds."""
        return statistics.median(own / others for own, others in zip(self.beyond, other.beyond, strict=True))


def run(engine: Engine, archive: Path, model: Path, find_speech: bool, scratch: Path) -> tuple[float, pd.DataFrame]:
    """Seconds of one run into a fresh place, and its answers."""
    out = Path(tempfile.mkdtemp(dir=scratch))
    if engine.name == "emosphere":
        settings = out / "settings.toml"
        settings.write_text(f"[listen]\nfind_speech = {str(find_speech).lower()}\n")
        command = [sys.executable, "-m", "jobs.score", str(archive), "--out", str(out / "tables"), "--model",
                   str(model), "--config", str(settings), "--max-error-rate", "1"]  # fmt: skip
    else:
        module = PEERS.get(engine.name, "ideal")
        command = [sys.executable, "-m", f"benchmarks.peers.{module}", str(archive), str(out / "tables"), "--model",
                   str(model), "--encoder", engine.encoder, "--threads", str(os.cpu_count())]  # fmt: skip
        command += ["--find-speech"] if find_speech else []
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    wall_s = time.monotonic() - began
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-3000:]}"
    if engine.is_ideal:
        prepared_s, network_s = map(float, done.stdout.split()[-2:])
        wall_s = network_s + (prepared_s if engine.name == ALL_COUNTED else 0.0)
    places = out / "tables/segments" if engine.name == "emosphere" else out / "tables"
    answers = ds.dataset(places, format="parquet", partitioning=None).to_table().to_pandas()
    if engine.name == "emosphere":
        answers["uri"] = answers["source_uri"].str.rpartition("/")[2]
    shutil.rmtree(out)
    return wall_s, answers[[*KEYS, *ANSWERS]]


def compared(reference: pd.DataFrame, answers: pd.DataFrame) -> str:
    """How many windows two engines share, and the largest difference of their answers."""
    both = reference.merge(answers, on=KEYS, suffixes=("", "_engine"))
    largest = max(((both[name] - both[f"{name}_engine"]).abs().max() for name in ANSWERS), default=float("nan"))
    return f"{len(both):,} of {len(answers):,}, {largest:.1e}{'' if largest < TOLERANCE else ' (!)'}"


def run_race(race: Race, case: str, peers: list[str], rounds: int, model: Path, scratch: Path) -> list[str]:
    """Table rows of one archive."""
    archive, clip = scratch / case, scratch / "clip"
    CASES[case](archive, race.seconds)
    if not clip.exists():
        clips(clip, 1)
    audio_s = sum(map(channel_seconds, archive.iterdir()))
    is_small = race.model == "default"
    encoders = ["emosphere"] if is_small else ["emosphere", "transformers"]
    engines = [Engine(IDEAL, encoder) for encoder in encoders] + [Engine("emosphere", "emosphere")]
    if is_small:  # where the network is the smaller part of the work
        engines.insert(1, Engine(ALL_COUNTED, "emosphere"))
    engines += [Engine(peer, encoder) for encoder in encoders for peer in peers]
    for turn in range(rounds):
        for engine in engines:
            if not engine.is_ideal and not race.is_whole:
                engine.startups.append(run(engine, clip, model, race.find_speech, scratch)[0])
            wall_s, engine.answers = run(engine, archive, model, race.find_speech, scratch)
            engine.walls.append(wall_s)
            print(
                f"{case} round {turn + 1}: {engine.name} ({engine.encoder}) {wall_s:.1f} s", file=sys.stderr, flush=True
            )
    ideals = [engine for engine in engines if engine.is_ideal]
    emosphere = next(engine for engine in engines if engine.name == "emosphere")
    if not is_small:
        ideals = ideals[:1]  # the one with our encoder
    rows = []
    speech = "found" if race.find_speech else "not sought"
    for engine in engines:
        ratio = statistics.median(other / own for other, own in zip(engine.walls, emosphere.walls, strict=True))
        rows.append(
            f"| {race.model} | {case}, {audio_s:.0f} s | {speech} | {engine.name} | {engine.encoder} | "
            f"{statistics.median(engine.walls):.1f} | "
            f"{max(engine.walls) - min(engine.walls):.1f} | {engine.startup_s:.1f} | "
            f"{audio_s / statistics.median(engine.beyond):.0f} | "
            f"{', '.join(f'{ideal.times(engine):.2f}' for ideal in ideals)} | {ratio:.2f} | "
            f"{engine.times(emosphere):.2f} | "
            f"{compared(ideals[0].answers, engine.answers)} |"
        )
        print(rows[-1], flush=True)
    shutil.rmtree(archive)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="default (the bundled one), or KIND-SIZE; left out: both races of RACES")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), help="archives (with --model; default: all)")
    parser.add_argument(
        "--seconds", type=float, help="of audio in each archive, all channels; default: 240, or each race's own"
    )
    parser.add_argument(
        "--find-speech", action="store_true", help="for every engine (with --model); else windows are cut evenly"
    )
    parser.add_argument("--short", action="store_true", help="from 10 s to two hours, whole times")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    races = [
        race._replace(seconds=arguments.seconds or race.seconds) for race in (SHORT_RACES if arguments.short else RACES)
    ]
    if arguments.model:
        races = [
            Race(arguments.model, arguments.cases or list(CASES), arguments.seconds or 240.0, arguments.find_speech)
        ]
    elif arguments.cases or arguments.find_speech:
        parser.error("--cases and --find-speech belong to one race: name its --model too")
    if "Daft" in arguments.peers and importlib.util.find_spec("daft") is None:
        parser.error("Daft is not installed here: pip install -r requirements-bench.lock, or name other --peers")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    lines = [
        "| model | archive | speech | engine | encoder | wall s (median) | spread s | start-up s "
        "| audio s per s beyond start-up | share of each ideal beyond start-up | wall / ours "
        "| beyond start-up / ours | windows as ideal's, largest difference |",
        "| --- " * 13 + "|",
    ]
    load = os.getloadavg()[0]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    head = (
        f"# Peers: the same files, the same weights\n\n`{Path(__file__).name}` with "
        f"{json.dumps([race._asdict() for race in races])}, {arguments.rounds} rounds, commit {commit}, "
        f"{datetime.date.today()}, {os.cpu_count()} CPUs ({cpu[1] if cpu else platform.processor()}), torch "
        f"{torch.__version__}. Load at the beginning {load:.1f}. Speech is found for every engine or for "
        "none, where windows are cut evenly.\n\n"
    )
    kind = "-".join([race.model + ("-speech" if race.find_speech else "") for race in races] + (arguments.cases or []))
    kind = "short" if arguments.short else kind
    name = f"{datetime.date.today()}-peers-{kind}-{os.cpu_count()}cpu.md"
    for race in races:
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            model = model_folder(race.model, scratch / "model")
            for case in race.cases:
                lines += run_race(race, case, arguments.peers, arguments.rounds, model, scratch)
                (ROOT / "benchmarks/results" / name).write_text(head + "\n".join(lines) + "\n")  # hours are not lost
    print(f"written to benchmarks/results/{name}")


if __name__ == "__main__":
    main()
