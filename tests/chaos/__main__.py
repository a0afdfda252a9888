"""Break everything once: fault x moment -> rows lost, rows twice, work repeated, time to recover.

python -m tests.chaos [--only WORD] [--moments 50% publish ...] [--out FILE.md]
"""

import argparse
import contextlib
import logging
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.chaos.nodes import Nodes, actors, kill, kill_tree
from tests.chaos.proxy import Fault, FaultProxy
from tests.chaos.trial import NUM_RECORDINGS, RECORDING_S, Outcome, Trial, table_text

MOMENTS = (0.1, 0.5, 0.9)
MOST_REPEATED = 0.02
"""Share of the audio that may be scored twice, outside the units in flight."""
Strike = Callable[["subprocess.Popen[str]"], str | None]


@contextlib.contextmanager
def a_trial(num_workers: int = 2) -> Iterator[Trial]:
    """Cluster, S3 server, proxy and archive, for as many faults as one likes."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request
    os.environ["RAY_AUTH_MODE"] = "disabled"  # a cluster of this process's own, gone with it
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    # Buckets belong to the process, not to its server: those of an earlier one would still be there.
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    proxy = FaultProxy((host, port), delay_s=0.05)
    os.environ |= {
        "AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    buckets = s3fs.S3FileSystem(use_listings_cache=False)
    for name in ("audio", "tables"):
        buckets.mkdir(name)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, small_disk(Path(folder) / "scratch") as scratch:
        os.environ["TMPDIR"] = str(scratch)  # of the actors too: where recordings are fetched to
        nodes = Nodes(num_workers)
        try:
            yield Trial(nodes, proxy, Path(folder), scratch)
        finally:
            nodes.stop()
            proxy.close()
            server.stop()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 MB that can be filled up, where this user may mount one; else a plain folder."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True)
    try:
        yield folder
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def faults(trial: Trial) -> Iterator[tuple[str, str, Strike]]:
    """Every fault with its moment and the way to strike."""
    for share in MOMENTS:
        moment = f"{share:.0%}"
        yield "driver killed", moment, at(trial, share, lambda process: kill_tree(process.pid))
        yield "actor killed", moment, at(trial, share, lambda process: kill(actors()[0]))
        yield "worker node killed", moment, at(trial, share, lambda process: trial.nodes.kill_worker())
        yield "head killed", moment, at(trial, share, lambda process: lose_head(trial, process))
        yield "actor out of memory", moment, at(trial, share, lambda process: starve(actors()[0]))
        yield "403 for all", moment, at(trial, share, lambda process: spoil(trial, "forbidden", 1.0))
    yield "driver killed", "publish", publishing(trial, lambda process: kill_tree(process.pid))
    yield "head killed", "publish", publishing(trial, lambda process: lose_head(trial, process))
    yield "403 for all", "publish", publishing(trial, lambda process: spoil(trial, "forbidden", 1.0))
    yield "slow down x 50%", "publish", publishing(trial, lambda process: spoil(trial, "slow_down", 0.5))
    yield "reset x 50%", "publish", publishing(trial, lambda process: spoil(trial, "reset", 0.5))
    yield "head killed, driver not", "50%", at(trial, 0.5, lambda process: outlive_head(trial, process))
    spoilt: list[tuple[Fault, float]] = [("slow_down", 0.2), ("reset", 0.1), ("slow", 0.5), ("truncated", 0.1)]
    for fault, share in spoilt:
        yield f"{fault.replace('_', ' ')} x {share:.0%}", "throughout", at(
            trial, 0.0, lambda process, fault=fault, share=share: spoil(trial, fault, share)
        )  # fmt: skip
    if not os.path.ismount(trial.scratch):
        print("disk full: left out, since this user may not mount a small disk", file=sys.stderr)
        return
    for share in MOMENTS:
        yield "disk full", f"{share:.0%}", at(trial, share, lambda process: fill_disk(trial))


def at(trial: Trial, share: float, act: Strike) -> Strike:
    """Strike once a share of the parts is stored."""

    def strike(process: "subprocess.Popen[str]") -> str | None:
        trial.wait_for(share, process)
        return act(process)

    return strike


def publishing(trial: Trial, act: Strike) -> Strike:
    """Strike while rows are put into the tables."""

    def strike(process: "subprocess.Popen[str]") -> str | None:
        trial.wait_for_publishing(process)
        return act(process)

    return strike


def spoil(trial: Trial, fault: Fault, share: float) -> str | None:
    trial.proxy.share, trial.proxy.fault = share, fault
    return None


def lose_head(trial: Trial, process: "subprocess.Popen[str]") -> str | None:
    """The driver runs on the head's machine in `ray job submit`: it dies with it. Then a new cluster stands up."""
    kill_tree(process.pid)
    trial.nodes.kill_head()
    process.wait()
    trial.nodes.start()
    return None


def outlive_head(trial: Trial, process: "subprocess.Popen[str]") -> str | None:
    """A driver elsewhere finds the cluster gone: it has to end by itself."""
    trial.nodes.kill_head()
    process.wait(timeout=300)
    trial.nodes.start()
    return None


def starve(pid: int) -> str | None:
    """No more memory for an actor: the next larger allocation fails."""
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (used, used))
    return None


def fill_disk(trial: Trial) -> str | None:
    """Not a byte left where recordings are fetched to, until the run has given up."""
    ballast = trial.scratch / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    trial.mends.append(ballast.unlink)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--moments", nargs="+", help="only these, such as 50%% publish throughout")
    parser.add_argument("--out", type=Path, help="file for the table")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    text = ""
    began = time.monotonic()
    with a_trial() as trial:
        for fault, moment, strike in faults(trial):
            if arguments.only not in fault or moment not in (arguments.moments or [moment]):
                continue
            outcome = trial.run(fault, moment, strike)
            outcomes.append(outcome)
            print(outcome, file=sys.stderr, flush=True)
            trial.nodes.mend()
            about = {
                "recordings": NUM_RECORDINGS, "audio_s": NUM_RECORDINGS * RECORDING_S, "nodes": 3,
                "machine": f"{platform.machine()}, {os.cpu_count()} CPUs", "wall_s": round(time.monotonic() - began),
            }  # fmt: skip
            text = table_text(outcomes, about)
            if arguments.out:  # after each: what broke for good should not take the others along
                arguments.out.write_text(text)
    print(text)
    return int(any(one.lost or one.twice or one.repeated_beyond >= MOST_REPEATED for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
