"""An adopted folder at the command, end to end: one file, its rows against the literal pass."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch

from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import find_model
from tests.rounding import assert_close, num_terms, rounding_bound


def test_an_archive_is_scored_with_an_adopted_folder(audeering: Any, root: Path, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    # A call's first seconds, as 16 kHz floats: nothing between the file and the model but speech activity.
    call, _ = soundfile.read(root / "demo/archive/calls/2026-11-20_call_0001.wav", dtype="float32", stop=80_000)
    voice = np.repeat(call[:, 0], 2)
    soundfile.write(archive / "a.wav", voice, 16_000, subtype="FLOAT")
    command = [sys.executable, "-m", "jobs.score", str(archive), "--out", str(out), "--json"]
    done = subprocess.run(
        [*command, "--model", str(audeering.folder)], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["scored"] == 1

    runs = pd.concat(pd.read_parquet(path) for path in (out / "runs").glob("*.parquet"))
    assert runs["model_licence"].tolist() == ["CC-BY-NC-SA-4.0"]
    segments = pd.concat(pd.read_parquet(path) for path in (out / "segments").rglob("*.parquet"))
    assert len(segments) > 0
    expected = []
    for row in segments.itertuples():
        arousal, dominance, valence = audeering.answer(voice[16 * row.start_ms : 16 * row.end_ms])
        expected.append(np.clip(2 * np.array([valence, arousal, dominance]) - 1, -1, 1))
    # Two layers attend to the 499 frames of 10 s, the pooling takes their mean.
    terms = num_terms(load_checkpoint(find_model(str(audeering.folder))).network, 3 * 499)
    found = segments[["valence", "arousal", "dominance"]]
    assert_close(found, expected, rounding_bound(torch.float32, terms))
    assert segments["region_prob"].isna().all()
    assert segments["region_name"].str.fullmatch(r"A[+-]V[+-]D[+-]").all()
