"""Plain Ray Data, as its documentation shows batch inference: read files, flat_map, map_batches, write."""

from typing import Any

import numpy as np
import ray.data

from benchmarks.peers.shared_work import (
    ANSWERS,
    CLIPS_PER_BATCH,
    SPAN,
    ReferenceModel,
    decode,
    parse_arguments,
    windows,
)


def main() -> None:
    arguments = parse_arguments()
    find_speech = arguments.find_speech

    def cut(row: dict[str, Any]) -> list[dict[str, Any]]:
        return windows(row["path"], decode(row["bytes"]), find_speech)

    class Answer:
        def __init__(self) -> None:
            self.model = ReferenceModel(arguments.model, arguments.encoder, arguments.threads)

        def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            answers = self.model.predict(batch["samples"])
            return {name: batch[name] for name in SPAN} | dict(zip(ANSWERS, answers.T, strict=True))

    (
        ray.data.read_binary_files(str(arguments.archive), include_paths=True)
        .flat_map(cut)
        .map_batches(Answer, batch_size=CLIPS_PER_BATCH, concurrency=1, num_cpus=1)
        .write_parquet(str(arguments.out))
    )


if __name__ == "__main__":
    main()
