"""Daft: its audio files, a function that gives lists, explode, a class with a batch method, write_parquet."""

from typing import Any

import daft
import numpy as np
from daft import DataType as Type
from daft.functions import audio_file

from benchmarks.peers.shared_work import (
    ANSWERS,
    CLIPS_PER_BATCH,
    SPAN,
    ReferenceModel,
    at_model_rate,
    parse_arguments,
    windows,
)

WINDOW = Type.struct({"uri": Type.string(), "channel": Type.int32(), "start_ms": Type.int64(), "end_ms": Type.int64(),
                      "samples": Type.tensor(Type.float32())})  # fmt: skip
ANSWER = Type.struct(dict.fromkeys(ANSWERS, Type.float32()))


def main() -> None:
    arguments = parse_arguments()

    @daft.func(return_dtype=Type.list(WINDOW), on_error="ignore")
    def cut(path: str, file: daft.File) -> list[dict[str, Any]]:
        samples = file.to_numpy()
        samples = samples[:, None] if samples.ndim == 1 else samples
        return windows(
            path, at_model_rate(samples.astype(np.float32), file.metadata()["sample_rate"]), arguments.find_speech
        )

    @daft.cls(max_concurrency=1)
    class Answer:
        def __init__(self) -> None:
            self.model = ReferenceModel(arguments.model, arguments.encoder, arguments.threads)

        @daft.method.batch(return_dtype=ANSWER, batch_size=CLIPS_PER_BATCH)
        def answer(self, samples: daft.Series) -> list[dict[str, float]]:
            answers = self.model.predict(samples.to_pylist())
            return [dict(zip(ANSWERS, map(float, row), strict=True)) for row in answers]

    files = daft.from_glob_path(f"{arguments.archive}/**").where(daft.col("size") > 0)
    cuts = files.select(cut(daft.col("path"), audio_file(daft.col("path"))).alias("window")).explode("window")
    cuts = cuts.where(daft.col("window").not_null())
    spans = [daft.col("window")[name].alias(name) for name in SPAN]
    answers = cuts.select(*spans, Answer().answer(daft.col("window")["samples"]).alias("answer"))
    answers.select(*SPAN, *(daft.col("answer")[name].alias(name) for name in ANSWERS)).write_parquet(str(arguments.out))


if __name__ == "__main__":
    main()
