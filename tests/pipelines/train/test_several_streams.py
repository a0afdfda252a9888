"""Log-mel beside the waveform and a pretrained encoder, by the smoke settings: trained, scored, exported."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from emosphere.clips.manifest import write_manifest
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.export import TOLERANCE
from emosphere.settings import SpeechSettings
from emosphere.store import locate
from emosphere.vad import VAD_DIMS
from pipelines.export.command import export
from pipelines.score.command import score
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import ScoreSettings
from pipelines.train.command import train
from tests.encoders import TINY

SETTINGS = """
base = "{smoke}"
out = "{out}"
folds = 0
save_every = 2

[clips]
manifest = "{manifest}"
train = ["train"]
hold = "{hold}"

[network.streams.waveform]
kind = "waveform"
channels = 8

[network.streams.pretrained]
kind = "wavlm"
settings = {settings}

[network.fusion]
kind = "concat"

[fit.learning_rates]
pretrained = 1e-4

[spectrum]
streams = ["speech"]
crop_frames = [20, 30]
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Tones of as many pitches as there are ratings; the test's lie in a folder of their own."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(36):
        split = "train" if number < 28 else "test"
        path = tmp_path / split / f"{number}.flac"
        path.parent.mkdir(exist_ok=True)
        vad = rng.uniform(-1, 1, size=3)
        times = np.arange(int(16_000 * rng.uniform(0.5, 1))) / 16_000
        sound = 0.2 * np.sin(2 * np.pi * (1000 + 600 * vad[0]) * times) + rng.normal(scale=0.01, size=len(times))
        soundfile.write(path, sound, 16_000)
        row = {"uri": str(path), "start_ms": 0, "weak": False, "speaker": f"s{number % 4}", "split": split}
        rows.append(row | {"corpus": "c", "duration_ms": len(times) // 16} | dict(zip(VAD_DIMS, vad, strict=True)))
    write_manifest(rows, locate(str(tmp_path / "manifest.parquet")))
    return tmp_path / "manifest.parquet"


@pytest.mark.heavy
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
def test_three_streams_go_all_the_way(root: Path, manifest: Path, tmp_path: Path) -> None:
    # Random masks of transformers come from dice of its own, which no seed of ours reaches.
    settings = ", ".join(
        f"{name} = {json.dumps(value)}" for name, value in (TINY | {"apply_spec_augment": False}).items()
    )
    for hold in ("memory", "stream"):
        (tmp_path / f"{hold}.toml").write_text(
            SETTINGS.format(
                smoke=root / "jobs" / "configs" / "train" / "smoke.toml",
                out=tmp_path / hold, manifest=manifest, hold=hold, settings=f"{{ {settings} }}",
            )
        )  # fmt: skip
        train(tmp_path / f"{hold}.toml")
    kept, decoded_anew = (load_checkpoint(tmp_path / hold) for hold in ("memory", "stream"))
    assert list(kept.network.streams) == ["speech", "waveform", "pretrained"]
    # Both begin with the same random front ends and hear the same: also the frozen one, which is drawn after another.
    for mine, other in zip(kept.network.parameters(), decoded_anew.network.parameters(), strict=True):
        assert torch.equal(mine, other)

    archive, out = manifest.with_name("test"), tmp_path / "tables"
    listen = ScoreSettings(listen=SpeechSettings(find_speech=False))
    score(ScoreRequest(archives=(str(archive),), out=str(out), model=str(tmp_path / "memory"), settings=listen))
    [path] = (out / "segments").rglob("*.parquet")
    segments = pq.ParquetFile(path).read().to_pylist()
    assert len(segments) == 8
    exported = export(str(tmp_path / "memory"), tmp_path / "graph", None)
    session = onnxruntime.InferenceSession(exported["onnx"], providers=["CPUExecutionProvider"])
    for segment in segments:
        samples, _ = soundfile.read(segment["source_uri"].removeprefix("file://"), dtype="float32")
        [vad] = session.run(["vad"], {"waveform": samples[None], "num_samples": np.array([len(samples)])})
        np.testing.assert_allclose(vad[0], [segment[dim] for dim in VAD_DIMS], rtol=0, atol=TOLERANCE)
    assert np.std([segment["valence"] for segment in segments]) > 10 * TOLERANCE
