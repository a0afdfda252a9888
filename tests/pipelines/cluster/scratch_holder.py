"""Program: work in a scratch folder of the kind given, ``plan`` or ``fetch``, print its path and wait to be killed."""

import sys
import time
from pathlib import Path

from pipelines.archive.fetch import Fetcher, FetchLimits
from pipelines.cluster.scratch import Scratch


def main(kind: str) -> None:
    # Whoever holds the folder wipes it when it goes, so it stays in a variable.
    holder = Scratch("plan") if kind == "plan" else Fetcher(FetchLimits(), {})
    path = holder.path if isinstance(holder, Scratch) else holder._scratch
    Path(path, "recording").write_bytes(b"a voice")
    print(path, flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])
