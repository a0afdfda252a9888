"""All engines do the same work: what they share hears and answers as `emosphere score` does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.peers.shared_work import ANSWERS, ReferenceModel, decode, full_batches, windows
from emosphere.inference import Scorer
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import BUNDLED
from emosphere.settings import SpeechSettings
from tests.rounding import assert_close, num_terms, rounding_bound


def bound() -> float:
    """On what rounding does to scores: through all layers, each member attending to 188 frames of 64 ms (12 s) and
    taking their mean.
    """
    network = load_checkpoint(BUNDLED).network
    return rounding_bound(torch.float32, num_terms(network, 3 * 188 * len(network.members)))


@pytest.mark.parametrize("find_speech", [True, False])
def test_the_engines_hear_the_segments_of_the_scorer_and_give_its_answers(root: Path, find_speech: bool) -> None:
    path = root / "demo/archive/podcast_episode_01.mp3"
    samples = decode(path.read_bytes())
    assert samples is not None
    rows = windows(path.name, samples, find_speech)
    wanted = Scorer(load_checkpoint(BUNDLED), speech=SpeechSettings(find_speech=find_speech)).score(samples, 16_000)
    assert [(row["start_ms"], row["end_ms"]) for row in rows] == list(
        zip(wanted["start_ms"], wanted["end_ms"], strict=True)
    )
    answers = ReferenceModel(str(BUNDLED), "emosphere", 1).predict([row["samples"] for row in rows])
    assert_close(answers, wanted[list(ANSWERS)], bound())


def test_batches_hold_every_window_once_and_no_more_than_they_may() -> None:
    lengths = np.random.default_rng(0).integers(8_000, 192_000, 100).tolist()
    batches = full_batches(lengths, 40.0)
    assert sorted(row for batch in batches for row in batch) == list(range(100))
    assert all(len(batch) * max(lengths[row] for row in batch) <= 40 * 16_000 for batch in batches)


def test_what_cannot_be_read_has_no_windows() -> None:
    assert decode(b"no audio") is None
    assert windows("a.wav", None, False) == []


def test_the_script_and_the_ideal_engine_write_the_same_answers(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "a.mp3").write_bytes((root / "demo/archive/podcast_episode_01.mp3").read_bytes())
    (archive / "b.mp3").write_bytes(b"no audio")
    answers = []
    for engine in ("ideal", "script"):
        command = [sys.executable, "-m", f"benchmarks.peers.{engine}", str(archive), str(tmp_path / engine), "--model"]
        command += [str(BUNDLED), "--encoder", "emosphere", "--threads", "1"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        answers.append(pq.read_table(tmp_path / engine / "answers.parquet").sort_by("start_ms").to_pandas())
    assert len(answers[0]) > 3
    assert_close(answers[0][list(ANSWERS)], answers[1][list(ANSWERS)], bound())
