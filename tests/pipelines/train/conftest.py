"""What several tests of training ask for."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three speakers to learn from and one to test on, a tone for each of three emotions."""
    rng = np.random.default_rng(0)
    rows = []
    for speaker in range(4):
        for take in range(2):
            for hz, emotion in ((300, "sadness"), (900, "anger"), (2500, "neutral")):
                path = tmp_path / f"{speaker}-{take}-{emotion}.flac"
                times = np.arange(int(16_000 * rng.uniform(0.3, 0.8))) / 16_000
                sound = 0.2 * np.sin(2 * np.pi * hz * times) + rng.normal(scale=0.01, size=len(times))
                soundfile.write(path, sound, 16_000)
                split = "test" if speaker == 3 else "train"
                rows.append([path.name, f"s{speaker}", emotion, "", "c", split])
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "speaker", "emotion", "intensity", "corpus", "split"], *rows])
    return tmp_path / "manifest.csv"
