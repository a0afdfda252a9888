"""The limit: encoder and heads alone, on windows that were decoded, cut and sorted before the clock starts.

Prints the seconds that decoding and cutting would take if no core ever idled, and those that the network took.
"""

import time

import numpy as np
import torch

from benchmarks.peers.shared_work import ReferenceModel, decode, full_batches, parse_arguments, windows, write

BATCH_S = 40.0


def main() -> None:
    arguments = parse_arguments()
    paths = sorted(path for path in arguments.archive.rglob("*") if path.is_file())
    torch.set_num_threads(1)
    windows(paths[0].name, decode(paths[0].read_bytes()), arguments.find_speech)  # warm
    began = time.process_time()
    rows = [one for path in paths for one in windows(path.name, decode(path.read_bytes()), arguments.find_speech)]
    prepared_s = (time.process_time() - began) / arguments.threads
    model = ReferenceModel(arguments.model, arguments.encoder, arguments.threads)
    batches = full_batches([len(row["samples"]) for row in rows], BATCH_S)
    model.predict([rows[row]["samples"] for row in batches[-1]])  # warm
    began = time.perf_counter()
    answers = [model.predict([rows[row]["samples"] for row in batch]) for batch in batches]
    print(prepared_s, time.perf_counter() - began)
    write(arguments.out, [rows[row] for batch in batches for row in batch], np.concatenate(answers))


if __name__ == "__main__":
    main()
