"""A good script for one machine: torch's DataLoader decodes in worker processes, windows are sorted by length."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.shared_work import (
    RATE_HZ,
    ReferenceModel,
    decode,
    full_batches,
    parse_arguments,
    windows,
    write,
)

BATCH_S, POOL_S = 40.0, 640.0


class Windows(Dataset):
    """Item: the windows of one recording."""

    def __init__(self, archive: Path, find_speech: bool) -> None:
        self.paths = sorted(path for path in archive.rglob("*") if path.is_file())
        self.find_speech = find_speech

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        path = self.paths[index]
        return windows(path.name, decode(path.read_bytes()), self.find_speech)


def main() -> None:
    arguments = parse_arguments()
    loader = DataLoader(
        Windows(arguments.archive, arguments.find_speech),
        batch_size=None,
        num_workers=max(1, (os.cpu_count() or 2) // 2),
        worker_init_fn=lambda worker: torch.set_num_threads(1),
    )
    model = ReferenceModel(arguments.model, arguments.encoder, arguments.threads)
    pool: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    answers: list[np.ndarray] = []

    def empty() -> None:
        for batch in full_batches([len(one["samples"]) for one in pool], BATCH_S):
            answers.append(model.predict([pool[row].pop("samples") for row in batch]))
            rows.extend(pool[row] for row in batch)
        pool.clear()

    for cuts in loader:
        pool += cuts
        if sum(len(one["samples"]) for one in pool) > POOL_S * RATE_HZ:
            empty()
    empty()
    write(arguments.out, rows, np.concatenate(answers))


if __name__ == "__main__":
    main()
