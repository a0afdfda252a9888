"""What docs/train.md types to reproduce the paper, on a made-up corpus and with a WavLM of a toy's size."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import transformers

from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.pretrained import SIZES
from pipelines.evaluate.command import evaluate
from pipelines.prepare.command import prepare
from pipelines.prepare.request import PrepareRequest
from pipelines.train.command import train
from tests.corpora.msp_podcast import make_msp_podcast
from tests.encoders import TINY

OVER = """
base = "{base}"
out = "{out}"

[weights]
speech = "{weights}"

[clips]
manifest = "{manifest}"

[network.streams.speech]
waveform_mean = {waveform_mean}
waveform_std = {waveform_std}

[network.streams.speech.settings]
{settings}

[fit]
epochs = 1
"""


@pytest.mark.heavy
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
def test_the_papers_configuration_trains(tmp_path: Path, root: Path) -> None:
    """From decoded copies of the clips and published weights of the encoder."""
    # Published weights, as `save_pretrained` lays them out.
    torch.manual_seed(1)
    architecture = transformers.WavLMConfig(**SIZES["large"] | TINY)
    published = transformers.WavLMModel(architecture)
    published.save_pretrained(tmp_path / "weights")

    corpus = make_msp_podcast(tmp_path / "corpus", num_clips=120, seconds=(0.3, 0.5))
    manifest = tmp_path / "msp.parquet"
    request = PrepareRequest(
        source=str(corpus), format="msp-podcast", out=str(manifest), release="1.12", drop="O", in_house_test=2,
        shards=str(tmp_path / "shards"),
    )  # fmt: skip
    prepared = prepare(request)
    assert {"train", "dev", "in-house-test", "test1", "test2"} <= {part["split"] for part in prepared["parts"]}
    assert all(uri.endswith(".flac") for uri in pq.read_table(manifest)["uri"].to_pylist())

    values = {
        "base": root / "jobs" / "configs" / "paper" / "proposed.toml",
        "out": tmp_path / "model",
        "weights": tmp_path / "weights",
        "manifest": manifest,
        "settings": "\n".join(f"{name} = {json.dumps(value)}" for name, value in TINY.items()),
        **prepared["waveform"],
    }
    (tmp_path / "train.toml").write_text(OVER.format(**values))
    result = train(tmp_path / "train.toml")
    assert result["epochs"] == 1
    learnt = json.loads((tmp_path / "model" / "evaluation.json").read_text())
    assert set(learnt["splits"]) == {"in-house-test", "test1", "test2"}

    # It began with the published weights: the frozen front end still is theirs, to the bit.
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.config.network.streams["speech"].waveform_std == prepared["waveform"]["waveform_std"]
    front = checkpoint.network.streams["speech"].model.feature_extractor.state_dict()
    for name, tensor in published.feature_extractor.state_dict().items():
        assert torch.equal(front[name], tensor), name

    out = tmp_path / "evaluation"
    result = evaluate(str(tmp_path / "model"), str(manifest), split="in-house-test", out=str(out), num_bootstrap=100)
    # By another path, over whole clips at once, it answers what the training measured.
    for dim in ("valence", "arousal", "dominance"):
        measured = learnt["splits"]["in-house-test"]["ccc"][dim]
        assert result["ccc"][dim]["value"] == pytest.approx(measured, abs=2e-3)
