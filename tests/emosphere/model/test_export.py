"""The graph answers what the network answers, for any length and batch, and says how to read it."""

import json
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import pytest
import torch

from emosphere.config import from_mapping
from emosphere.errors import UsageError
from emosphere.geometry import REGION_NAMES
from emosphere.model import export
from emosphere.model.architecture import NetworkConfig
from emosphere.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from emosphere.model.description import CheckpointConfig
from emosphere.model.export import TOLERANCE, export_onnx
from emosphere.model.find import BUNDLED
from emosphere.model.network import Network
from emosphere.model.predict import Predictor
from emosphere.tasks import Task, tasks_of
from emosphere.tasks.region import RegionTask
from tests.encoders import TINY

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")

BATCHES = [(16_000,), (192_000,), (640,), (100,), (24_000, 24_000), (40_000, 9_000, 400, 1_234, 31_111)]


def tiny(folder: Path, kind: str, *, size: str = "large", regions: Literal[0, 8, 18, 32] = 8) -> Checkpoint:
    heads = {"vad": {"hidden": 8}} | ({"region": {"hidden": 8}} if regions else {})
    pooling = {"kind": "statistics" if kind == "wavlm" else "mean"}
    streams = {"speech": {"kind": kind, "size": size, "settings": TINY}}
    values = {"streams": streams, "pooling": pooling, "heads": heads}
    labels: dict[str, Task] = {"region": RegionTask(regions=regions, temperature=1.5)} if regions else {}
    architecture = from_mapping(NetworkConfig, values, source="test")
    network = Network(architecture, tasks_of(architecture.labels_of_heads, labels))
    # Fresh weights answer almost the same to everything; these do not.
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
    config = CheckpointConfig(network=network.config, name="Tiny", licence="CC0-1.0", labels=labels)
    save_checkpoint(network, folder, config, card="# Tiny\n")
    return load_checkpoint(folder)


def answers(path: Path, clips: list[np.ndarray], *, padding: float = 0.0) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    waveform = np.full((len(clips), max(map(len, clips))), padding, np.float32)
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    num_samples = np.array([len(clip) for clip in clips])
    return session.run(None, {"waveform": waveform, "num_samples": num_samples})  # type: ignore[return-value]


def agrees(checkpoint: Checkpoint, path: Path) -> None:
    # TOLERANCE is what export_onnx promises of a graph, whose sums another runtime takes; rounding stays far below it.
    predictor, dice = Predictor(checkpoint), np.random.default_rng(5)
    spread = []
    for lengths in BATCHES:
        clips = [
            (0.1 * np.sin(np.arange(length) * dice.uniform(0.02, 0.5)) + 0.02 * dice.standard_normal(length)).astype(
                "f4"
            )
            for length in lengths
        ]
        expected = predictor.predict(clips)
        spread.append(expected["vad"])
        wanted = list(expected.values())
        for padding in (0.0, float("nan")):
            outputs = answers(path, clips, padding=padding)
            assert len(outputs) == len(wanted)
            for one, other in zip(outputs, wanted, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)
    # The comparison means nothing where all answers are alike.
    assert np.concatenate(spread).std(axis=0).max() > 2e-3


def test_the_bundled_model_answers_alike_as_a_graph(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(BUNDLED)
    exported = export_onnx(checkpoint, tmp_path, card="# Card\n")
    assert exported.path == tmp_path / "model.onnx"
    assert exported.num_bytes == exported.path.stat().st_size > 7_000_000
    assert exported.largest_difference <= TOLERANCE
    assert (tmp_path / "README.md").read_text() == "# Card\n"
    agrees(checkpoint, exported.path)
    metadata = onnxruntime.InferenceSession(str(exported.path)).get_modelmeta().custom_metadata_map
    assert (metadata["licence"], metadata["digest"]) == (checkpoint.licence, checkpoint.digest)
    assert json.loads(metadata["dims"]) == ["valence", "arousal", "dominance"]
    assert json.loads(metadata["region_names"]) == list(REGION_NAMES[8])
    assert metadata["sample_rate_hz"] == "16000"
    assert metadata["scale"].startswith("centred")


def test_wavlm_without_a_region_head_answers_alike_as_a_graph(tmp_path: Path) -> None:
    checkpoint = tiny(tmp_path / "model", "wavlm", regions=0)
    agrees(checkpoint, export_onnx(checkpoint, tmp_path / "out", card="").path)


@pytest.mark.heavy
def test_wav2vec2_answers_alike_as_a_graph(tmp_path: Path) -> None:
    checkpoint = tiny(tmp_path / "model", "wav2vec2")
    agrees(checkpoint, export_onnx(checkpoint, tmp_path / "out", card="").path)


def test_an_encoder_of_single_clips_is_refused(tmp_path: Path) -> None:
    checkpoint = tiny(tmp_path / "model", "wavlm", size="base")
    with pytest.raises(UsageError, match=r"wavlm of size base.* hears each clip by itself"):
        export_onnx(checkpoint, tmp_path / "out", card="")
    assert not (tmp_path / "out").exists()


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"needs onnxscript: pip install 'emosphere\[export\]'"):
        export_onnx(load_checkpoint(BUNDLED), tmp_path / "out", card="")


def test_a_graph_that_differs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emosphere.errors import MachineError

    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    monkeypatch.setattr(export, "_largest_difference", lambda graph, path: float("nan"))
    monkeypatch.setattr(export, "_trace", lambda graph: Program())
    with pytest.raises(MachineError, match="differ from the network's by nan"):
        export_onnx(load_checkpoint(BUNDLED), tmp_path, card="")


class Program:
    """Stands in for a traced graph where only what comes after matters."""

    class model:  # noqa: N801
        metadata_props: dict[str, str] = {}  # noqa: RUF012

    def save(self, path: Path, external_data: bool) -> None:
        path.touch()
