"""How long does planning take, and in how much memory, for an archive of a million objects?

An S3 Inventory is generated (CSV.gz and Parquet), planned into a fresh OUT, then planned again as the night after: all
finished but one in a thousand. No audio: planning opens none. Then a real listing of 20,000 objects from an S3 server
on this machine. Writes benchmarks/results/DATE-plan-NCPU.md.
"""

import argparse
import csv
import datetime
import gzip
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
FILE_ROWS = 100_000


def objects(number: int) -> tuple[str, int, str]:
    """Key, size and ETag of one object: calls of half a minute to an hour and a half, a few of ten hours."""
    size = 300_000 + number % 100_000 * (1 if number % 50 else 400) + (300 << 20 if number % 50_000 == 7 else 0)
    key = f"calls/2026/11/{number % 28 + 1:02d}/site-{number % 97:03d}/call-{number:09d}.mp3"
    return key, size, hashlib.md5(key.encode()).hexdigest()


def write_inventory(folder: Path, count: int, kind: str) -> Path:
    """An inventory as S3 writes it."""
    data = folder / "inv/calls-archive/nightly/data"
    data.mkdir(parents=True)
    files = []
    for first in range(0, count, FILE_ROWS):
        rows = [objects(number) for number in range(first, min(count, first + FILE_ROWS))]
        path = data / f"{first:09d}.{'csv.gz' if kind == 'CSV' else 'parquet'}"
        if kind == "CSV":
            with gzip.open(path, "wt", compresslevel=1, newline="") as file:
                writer = csv.writer(file, quoting=csv.QUOTE_ALL)
                writer.writerows(("calls-archive", k, s, "2026-11-20T01:02:03.000Z", e) for k, s, e in rows)
        else:
            when = pa.array([datetime.datetime(2026, 11, 20, 1, 2, 3)] * len(rows), pa.timestamp("ms"))
            keys, sizes, etags = zip(*rows, strict=True)
            table = {"bucket": ["calls-archive"] * len(rows), "key": keys, "size": sizes, "last_modified_date": when,
                     "e_tag": etags}  # fmt: skip
            pq.write_table(pa.table(table), path)
        files.append({"key": str(path.relative_to(folder)), "size": path.stat().st_size, "MD5checksum": ""})
    manifest = data.parent / "2026-11-21T01-00Z/manifest.json"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps({"sourceBucket": "calls-archive", "fileFormat": kind, "files": files,
                                    "fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag"}))  # fmt: skip
    return manifest


def plan(archive: str, out: Path) -> dict:
    """Plan once, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.plan_once", archive, str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def finish(out: Path, planned: dict) -> None:
    """Publish what was planned as if it had been scored, but for one in a thousand; the run is over."""
    sys.path.insert(0, str(ROOT))
    from emosphere.tables.schema import arrow_schema

    schema = arrow_schema("recordings")
    folder = out / f"recordings/dt=2026-11-20/model={planned['model']}"
    folder.mkdir(parents=True)
    run = out / "_emosphere/runs" / planned["run_id"]
    now = datetime.datetime.now(datetime.UTC)
    tables: list[pa.Table] = []
    with pq.ParquetWriter(folder / "part-00.parquet", schema, compression="zstd") as writer:
        for part in sorted((run / "plan").iterdir()):
            units = pq.read_table(part)
            rows = [
                {"recording_id": unit["recording_id"], "source_uri": unit["source_uri"], "status": "scored",
                 "content_version": unit["content_version"], "num_channels_skipped": 0, "attempts": 1,
                 "num_segments": 0, "settings_digest": planned["settings"], "run_id": planned["run_id"],
                 "scored_at": now}
                for unit in units.to_pylist() if unit["unit_index"] == 0 and int(unit["recording_id"][:8], 16) % 1000
            ]  # fmt: skip
            tables.append(pa.Table.from_pylist(rows, schema=schema))
            if sum(map(len, tables)) >= FILE_ROWS:  # row groups as publishing writes them
                writer.write_table(pa.concat_tables(tables))
                tables.clear()
        writer.write_table(pa.concat_tables([schema.empty_table(), *tables]))
    subprocess.run(["rm", "-r", str(out / "_emosphere")], check=True)


def s3_listing(count: int, out: Path) -> dict:
    """Plan a prefix of ``count`` objects on an S3 server in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", "5055"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.environ |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:5055", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
                   "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
    import s3fs

    try:
        store = s3fs.S3FileSystem()
        for _ in range(60):
            try:
                store.mkdir("calls")
                break
            except OSError:
                time.sleep(1)
        for first in range(0, count, 500):
            store.pipe({f"calls/night/call-{number:06d}.mp3": b"x" for number in range(first, first + 500)})
        return plan("s3://calls/night", out)
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", choices=["CSV", "Parquet"], default=["CSV", "Parquet"])
    parser.add_argument("--listed", type=int, default=20_000, help="objects on the S3 server; 0 leaves that out")
    arguments = parser.parse_args()
    lines = ["| what | objects | to score | parts | wall s | CPU s | peak MiB | of which before planning |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip

    def report(what: str, count: int, planned: dict) -> None:
        lines.append(
            f"| {what} | {count:,} | {planned['recordings']:,} | {planned['parts']:,} | {planned['wall_s']:.1f} | "
            f"{planned['cpu_s']:.1f} | "
            f"{planned['peak_mib']:.0f} | {planned['before_mib']:.0f} |"
        )
        print(lines[-1], flush=True)

    for count in arguments.objects:
        for kind in arguments.kinds:
            with tempfile.TemporaryDirectory() as scratch:
                folder, out = Path(scratch), Path(scratch) / "out"
                manifest = str(write_inventory(folder, count, kind))
                first = plan(manifest, out)
                report(f"S3 Inventory, {kind}", count, first)
                if kind == "CSV":
                    finish(out, first)
                    report("the night after", count, plan(manifest, out))
    if arguments.listed:
        with tempfile.TemporaryDirectory() as scratch:
            report("listing an S3 server (moto)", arguments.listed, s3_listing(arguments.listed, Path(scratch)))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    load = os.getloadavg()[1]
    head = (
        f"# Plan: objects per wall second, and memory\n\n`python benchmarks/{Path(__file__).name} --objects "
        f"{' '.join(map(str, arguments.objects))} --kinds {' '.join(arguments.kinds)} --listed {arguments.listed}`, "
        f"commit {commit}, "
        f"{datetime.date.today()}, {os.cpu_count()} CPUs ({cpu[1] if cpu else platform.processor()}), Python "
        f"{platform.python_version()}. One run per row; load of the machine at the end: {load:.0f}.\n\n"
    )
    sizes = "-".join(map(str, arguments.objects))
    target = ROOT / "benchmarks/results" / f"{datetime.date.today()}-plan-{sizes}-{os.cpu_count()}cpu.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(head + "\n".join(lines) + "\n")
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
