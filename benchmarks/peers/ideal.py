"""The limit: encoder and heads alone, on windows that were decoded, cut and sorted before the clock starts.

Prints the seconds that the network took.
"""

import time

import numpy as np

from benchmarks.peers.lane import Judge, arguments, decode, full_batches, windows, write

BATCH_S = 40.0


def main() -> None:
    asked = arguments()
    paths = sorted(path for path in asked.archive.rglob("*") if path.is_file())
    rows = [one for path in paths for one in windows(path.name, decode(path.read_bytes()), asked.find_speech)]
    judge = Judge(asked.model, asked.encoder, asked.threads)
    batches = full_batches([len(row["samples"]) for row in rows], BATCH_S)
    judge([rows[row]["samples"] for row in batches[-1]])  # warm
    began = time.perf_counter()
    answers = [judge([rows[row]["samples"] for row in batch]) for batch in batches]
    print(time.perf_counter() - began)
    write(asked.out, [rows[row] for batch in batches for row in batch], np.concatenate(answers))


if __name__ == "__main__":
    main()
