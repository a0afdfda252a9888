"""One archive on S3, scored while something breaks, then by the same command again; and what came of it."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import soundfile

from emosphere.audio.decoding.decode import DecodeLimits, open_recording
from emosphere.store import Location, locate
from pipelines.cluster.resources import MOST_LANES
from pipelines.output.ledger import read_parquet
from tests.chaos.nodes import Nodes
from tests.chaos.proxy import FaultProxy

ROOT = Path(__file__).parents[2]
_PART = re.compile(r"(?<=/staging/)part-\d+")
"""Of what was staged, whoever staged it."""
NUM_RECORDINGS = 40
RECORDING_S = 12
MAX_RUNS = 4
"""Times the same command may be given until it must have finished."""
NUM_ACTORS = 2
IN_FLIGHT = NUM_ACTORS * MOST_LANES
"""Parts that are worked at when the fault strikes."""
SETTINGS = f"""
[plan]
part_units = 1
[resources]
actors = {NUM_ACTORS}
stall_timeout_s = 180.0  # an actor without memory may hang in starting a thread
cpus_per_actor = 2
[fetch]
attempts = 6
first_pause_s = 0.1
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one fault at one moment did."""

    fault: str
    moment: str
    lost: int
    """Rows of the undisturbed run that are missing or different."""
    twice: int
    """Rows that stand more than once, or should not be there."""
    repeated: float
    """Share of the audio that was scored and stored again."""
    runs: int
    """Times the command was given."""
    recovered_s: float
    """From the first command after the fault to its end; 0 where the disturbed run came through by itself."""
    note: str = ""

    @property
    def repeated_beyond(self) -> float:
        """Share of the audio scored again outside the units in flight: one of each lane."""
        return max(self.repeated - IN_FLIGHT / NUM_RECORDINGS, 0.0)


class Trial:
    """The archive, the undisturbed rows, and the way to run the command against them."""

    def __init__(self, nodes: Nodes, proxy: FaultProxy, folder: Path, scratch: Path) -> None:
        self.nodes, self.proxy, self.folder, self.scratch = nodes, proxy, folder, scratch
        self.mends: list[Callable[[], object]] = []
        """What puts right, once the disturbed run has ended, what a fault has broken."""
        self.settings, self.calm_settings = folder / "settings.toml", folder / "calm.toml"
        self.settings.write_text(SETTINGS)
        self.calm_settings.write_text('[resources]\nengine = "in-process"\n')
        self._upload()
        self._count = 0
        self.out = ""
        self.undisturbed = self._calm_rows()

    def run(self, fault: str, moment: str, strike: Callable[[subprocess.Popen[str]], str | None]) -> Outcome:
        """Score into a new place; ``strike`` is called once the run has begun, and may return a note."""
        self._count += 1
        # Only what no URL spells otherwise: the proxy knows requests by their paths.
        self.out = f"s3://tables/{re.sub('[^a-z0-9]+', '-', fault.lower())}-{self._count}"
        self.proxy.calm()
        process = self._start()
        note = strike(process) or ""
        spoils = self.proxy.fault is not None
        code = self._end(process)
        assert not spoils or self.proxy.struck, f"{fault} at {moment}: no request was spoilt"
        self.proxy.fault, runs, began, recovered_s = None, 1, time.monotonic(), 0.0
        while self.mends:
            self.mends.pop()()
        # A retried failure is a row until the next night: the same command again must mend that too.
        while runs < MAX_RUNS and (code != 0 or not self._is_whole()):
            runs += 1
            code = self._end(self._start())
            recovered_s = time.monotonic() - began
        assert code == 0, f"{fault} at {moment}: the same command ended with {code}; see {self.folder}"
        lost, twice = self._compare()
        stored = Counter[str]()
        for path, number in self.proxy.written.items():
            if part := _PART.search(path):
                stored[part[0]] += number
        again = [number - 1 for number in stored.values()]
        return Outcome(
            fault=fault,
            moment=moment,
            lost=lost,
            twice=twice,
            # Every part is one recording of one length.
            repeated=sum(again) / NUM_RECORDINGS,
            runs=runs,
            recovered_s=recovered_s,
            note=note,
        )

    def wait_for(self, share: float, process: subprocess.Popen[str]) -> None:
        """Until so large a share of the parts is stored."""
        self._wait(lambda: self._staged() >= share * NUM_RECORDINGS, process)

    def wait_for_publishing(self, process: subprocess.Popen[str]) -> None:
        """Until the first table file of this place is being replaced."""
        self._wait(lambda: any("/segments/dt=" in path for path in self._written()), process)

    def _wait(self, is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 300
        while not is_so():
            assert process.poll() is None, "the run was over before anything could strike; see its log"
            assert time.monotonic() < deadline, "the run did not get so far in five minutes"
            time.sleep(0.01)

    def _written(self) -> list[str]:
        prefix = self.out.removeprefix("s3:/")
        return [path for path in list(self.proxy.written) if path.startswith(prefix)]

    def _staged(self) -> int:
        return len({part[0] for path in self._written() if (part := _PART.search(path))})

    def _start(self, settings: Path | None = None) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "jobs.score", "s3://audio/night", "--out", self.out, "--dt", "2026-11-20",
                   "--config", str(settings or self.settings), "--json"]  # fmt: skip
        log = (self.folder / f"{self._count:02d}.log").open("a")
        environment = os.environ | {"RAY_ADDRESS": self.nodes.address}
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, text=True, env=environment)

    def _end(self, process: "subprocess.Popen[str]") -> int:
        return process.wait(timeout=600)

    def _is_whole(self) -> bool:
        frame = self._rows("recordings")
        return not (frame["status"] == "failed").any()

    def _compare(self) -> tuple[int, int]:
        lost = twice = 0
        for table, keys in (("segments", ["recording_id", "channel", "start_ms"]), ("recordings", ["recording_id"])):
            wanted, found = self.undisturbed[table], self._rows(table)
            twice += int(found.duplicated(keys).sum()) + len(found.merge(wanted[keys], how="left", on=keys,
                         indicator=True).query("_merge == 'left_only'"))  # fmt: skip
            both = wanted.merge(found.drop_duplicates(keys), on=keys, how="left", suffixes=("", "_found"))
            values = ["end_ms", "valence", "arousal", "dominance"] if table == "segments" else ["num_segments"]
            same = np.ones(len(both), bool)
            for name in values:
                same &= np.isclose(both[name], both[f"{name}_found"], atol=1e-4)
            lost += int((~same).sum())
        return lost, twice

    def _rows(self, table: str) -> pd.DataFrame:
        root = locate(f"{self.out}/{table}")
        parts = [read_parquet(Location(root.fs, path)) for path in root.files()]
        return pa.concat_tables(parts).to_pandas()

    def _calm_rows(self) -> dict[str, pd.DataFrame]:
        """Those of one actor in one process, without a cluster."""
        self.out = "s3://tables/undisturbed"
        code = self._end(self._start(self.calm_settings))
        assert code == 0, f"the undisturbed run ended with {code}; see {self.folder}"
        return {table: self._rows(table) for table in ("segments", "recordings")}

    def _upload(self) -> None:
        stream = open_recording(str(ROOT / "demo/archive/podcast_episode_01.mp3"), limits=DecodeLimits())
        voice = np.concatenate(list(stream), axis=1)[0]
        archive = locate("s3://audio/night")
        for number in range(NUM_RECORDINGS):
            start = 16 * 700 * number
            path = self.folder / "one.flac"
            soundfile.write(path, voice[start : start + 16_000 * RECORDING_S], 16_000)
            archive.child(f"{number:03d}.flac").write_bytes(path.read_bytes())


def table_text(outcomes: list[Outcome], about: dict[str, Any]) -> str:
    """The chaos table as Markdown."""
    header = "| fault | moment | lost | twice | repeated | commands | recovered in |\n|---|---|---|---|---|---|---|\n"
    lines = [
        f"| {one.fault}{f' ({one.note})' if one.note else ''} | {one.moment} | {one.lost} | {one.twice} "
        f"| {one.repeated:.1%} | {one.runs} | {f'{one.recovered_s:.0f} s' if one.runs > 1 else 'by itself'} |"
        for one in outcomes
    ]
    return header + "\n".join(lines) + f"\n\n{json.dumps(about)}\n"
