"""Two heads that the project does not know go all the way, each from one file and a line in a registry."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from emosphere.clips.manifest import write_manifest
from emosphere.store import locate

RATE_HZ = 16_000
SETTINGS = """
name = "counting"
licence = "CC0-1.0"
out = "{folder}/model"
save_every = 25

[clips]
manifest = "{folder}/manifest.parquet"
train = ["train"]

[network]
members = 2

[network.streams.speech]
kind = "logmel"
num_mels = 16
dim = 16
num_blocks = 1
dropout = 0.0

[network.streams.level]
kind = "level"

[network.pooling]
kind = "mean"

[network.fusion]
kind = "concat"

[network.heads]
loudness = {{ hidden = 16, dropout = 0.0 }}
syllables = {{ hidden = 16, dropout = 0.0, reads = "speech" }}

[fit]
epochs = 25
batch_size = 12
learning_rate = 1e-2
schedule = "cosine"

[fit.terms]
loudness = {{ kind = "concordance" }}
syllables = {{ kind = "squared-error", scope = "piece" }}
"""


class Sound(NamedTuple):
    name: str
    samples: np.ndarray
    level_db: float
    syllables: int


def sounds(count: int, rng: np.random.Generator) -> list[Sound]:
    """Bursts of a tone with overtones between pauses of any length."""
    made = []
    for number in range(count):
        syllables = int(rng.integers(1, 7))
        times = np.arange(int(0.12 * RATE_HZ)) / RATE_HZ
        parts = [np.zeros(int(rng.uniform(0.03, 0.1) * RATE_HZ))]
        for _ in range(syllables):
            hz = rng.uniform(150, 300)
            burst = sum(np.sin(2 * np.pi * hz * k * times) / k for k in range(1, 8))
            parts += [burst * np.hanning(len(times)), np.zeros(int(rng.uniform(0.06, 0.16) * RATE_HZ))]
        voice = np.concatenate(parts)
        level_db = rng.uniform(-45, -15)
        voice *= 10 ** (level_db / 20) / np.sqrt(np.square(voice).mean())
        voice += rng.normal(scale=1e-4, size=len(voice))
        made.append(Sound(f"{number}.flac", voice, level_db, syllables))
    return made


@pytest.fixture(scope="module")
def held_out() -> list[Sound]:
    return sounds(16, np.random.default_rng(1))


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory, held_out: list[Sound]) -> Path:
    """A folder in which all commands have run. Of four clips each head has labels of three."""
    folder = tmp_path_factory.mktemp("registered")
    rows = []
    for split, of_split in (("train", sounds(48, np.random.default_rng(0))), ("test", held_out)):
        place = folder / ("archive" if split == "test" else split)
        place.mkdir()
        for number, sound in enumerate(of_split):
            soundfile.write(place / sound.name, sound.samples, RATE_HZ)
            row = {
                "uri": str(place / sound.name), "start_ms": 0, "weak": False, "speaker": f"{split}-{number % 3}",
                "split": split, "corpus": "made up",
                "intensity": None if number % 4 == 0 else f"{sound.level_db:.2f} dB",
                "transcript": None if number % 4 == 2 else " ".join(["ta"] * sound.syllables),
            }  # fmt: skip
            rows.append(row)
    write_manifest(rows, locate(str(folder / "manifest.parquet")))
    (folder / "train.toml").write_text(SETTINGS.format(folder=folder))
    command = [sys.executable, "-m", "tests.tasks.commands", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_evaluations_count_what_is_labelled(done: Path) -> None:
    trained: dict[str, Any] = json.loads((done / "model" / "evaluation.json").read_text())["test"]
    measured = json.loads((done / "evaluation" / "evaluation.json").read_text())["overall"]
    for head, least in (("loudness", 0.9), ("syllables", 0.9)):
        assert trained[f"{head}_ccc"][head] > least
        assert measured["figures"]["ccc"][head]["value"] == pytest.approx(trained[f"{head}_ccc"][head], abs=1e-3)
        assert (measured["dimensions"][head]["clips"], measured["dimensions"][head]["unrated"]) == (12, 4)


def test_tables_hold_what_is_true(done: Path, held_out: list[Sound]) -> None:
    segments = published(done)
    assert segments["valence"].null_count == segments["category"].null_count == len(held_out)
    assert segments.schema.field("loudness").metadata[b"unit"] == b"[-1, 1]"
    found = {name: np.array(segments[name].to_pylist()) for name in ("loudness", "syllables")}
    true_loudness = np.array([1 + sound.level_db / 30 for sound in held_out])
    assert np.corrcoef(found["loudness"], true_loudness)[0, 1] > 0.9
    assert np.abs(found["loudness"] - true_loudness).mean() < 0.15
    assert np.abs(found["syllables"] - [sound.syllables for sound in held_out]).mean() < 0.6
    # Batched with other clips, as an evaluation does, an answer is the same: padding adds no syllable.
    predicted = pq.read_table(done / "evaluation" / "predictions.parquet")
    for name, values in found.items():
        np.testing.assert_allclose(values, predicted[name].to_numpy(), rtol=0, atol=1e-4)


def test_the_exported_graph_answers_the_same(done: Path, held_out: list[Sound]) -> None:
    import onnxruntime

    lengths = np.array([len(sound.samples) for sound in held_out])
    waveforms = np.zeros((len(lengths), lengths.max()), np.float32)
    for row, sound in zip(waveforms, held_out, strict=True):
        row[: len(sound.samples)] = soundfile.read(done / "archive" / sound.name, dtype="float32")[0]
    session = onnxruntime.InferenceSession(str(done / "graph" / "model.onnx"), providers=["CPUExecutionProvider"])
    answers = session.run(["loudness", "syllables"], {"waveform": waveforms, "num_samples": lengths})
    segments = published(done)
    for name, values in zip(("loudness", "syllables"), answers, strict=True):
        np.testing.assert_allclose(values[:, 0], segments[name].to_numpy(), rtol=0, atol=1e-3)


def published(done: Path) -> Any:
    """Rows of ``segments`` in the order of the archive's sounds."""
    [path] = (done / "tables" / "segments").rglob("*.parquet")
    table = pq.ParquetFile(path).read()
    names = [int(uri.rsplit("/", 1)[-1].removesuffix(".flac")) for uri in table["source_uri"].to_pylist()]
    return table.take(np.argsort(names))
