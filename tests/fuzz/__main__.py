"""Score thousands of spoilt files by the real command: every one must end as a row, and the run with exit code 0.

Then, for some minutes, let Hypothesis look for a file that the decoder has no answer to, and make it small.

python -m tests.fuzz [--count 5000] [--minutes 10] [--seed 0] [--keep FOLDER]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from emosphere.errors import ERROR_CODES
from tests.fuzz.mutate import made, sources, spoilt
from tests.fuzz.property import search

ROOT = Path(__file__).parents[2]
DEADLINE_S = 3 * 3600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files and tables, to look at afterwards")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the search behind it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = arguments.keep or Path(scratch)
        archive, out = folder / "archive", folder / "out"
        archive.mkdir(parents=True)
        (folder / "made").mkdir()
        paths = [*sources(ROOT.parent / "shared/data"), *made(folder / "made")]
        for name, data in spoilt(paths, arguments.count, arguments.seed):
            (archive / name).write_bytes(data)
        began = time.monotonic()
        command = [sys.executable, "-m", "jobs.score", str(archive), "--out", str(out), "--json"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S)
        wall_s = time.monotonic() - began
        result = json.loads(done.stdout.splitlines()[-1])
        rows = pa.concat_tables(pq.ParquetFile(path).read() for path in (out / "recordings").rglob("*.parquet"))
        code = report(rows.to_pylist(), result, arguments.count, done.returncode, wall_s)
        if arguments.minutes:
            found = search(paths, seconds=60 * arguments.minutes, seed=arguments.seed)
            print(f"searched {arguments.minutes:g} min: {found.total()} files, {dict(found.most_common())}")
    return code


def report(rows: list[dict[str, str]], result: dict[str, int], count: int, code: int, wall_s: float) -> int:
    """Print what became of the files; 1 when one has no row, or a row without a known reason."""
    outcomes = Counter((row["status"], row["error_code"] or "") for row in rows)
    for (status, error), number in sorted(outcomes.items()):
        print(f"{number:6d}  {status:10s} {error}")
    seen = {row["source_uri"] for row in rows}
    odd = [row for row in rows if row["status"] == "failed" and row["error_code"] not in ERROR_CODES]
    internal = [row for row in rows if row["error_code"] == "INTERNAL"]
    print(f"files={count} rows={len(seen)} exit={code} wall={wall_s:.0f} s internal={len(internal)} odd={len(odd)}")
    for row in (internal + odd)[:20]:
        print(f"  {row['source_uri'].rpartition('/')[2]}: {row['error_message']}")
    whole = len(seen) == len(rows) == count == result.get("recordings") and code == 0
    return int(not whole or bool(internal) or bool(odd))


if __name__ == "__main__":
    sys.exit(main())
