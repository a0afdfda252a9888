"""Plain Ray Data, as its documentation shows batch inference: read files, flat_map, map_batches, write."""

from typing import Any

import numpy as np
import ray.data

from benchmarks.peers.lane import ANSWERS, CLIPS_PER_BATCH, SPAN, Judge, arguments, decode, windows


def main() -> None:
    asked = arguments()
    find_speech = asked.find_speech

    def cut(row: dict[str, Any]) -> list[dict[str, Any]]:
        return windows(row["path"], decode(row["bytes"]), find_speech)

    class Answer:
        def __init__(self) -> None:
            self.judge = Judge(asked.model, asked.encoder, asked.threads)

        def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            answers = self.judge(batch["samples"])
            return {name: batch[name] for name in SPAN} | dict(zip(ANSWERS, answers.T, strict=True))

    (
        ray.data.read_binary_files(str(asked.archive), include_paths=True)
        .flat_map(cut)
        .map_batches(Answer, batch_size=CLIPS_PER_BATCH, concurrency=1, num_cpus=1)
        .write_parquet(str(asked.out))
    )


if __name__ == "__main__":
    main()
