"""The whole path of the paper on a made-up corpus in MSP-Podcast's layout: prepare, train a table, compare."""

import json
from pathlib import Path

import pytest

from emosphere.errors import UsageError
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.description import AT_WEIGHT_ZERO
from pipelines.ablate.command import ablate, table_text

BASE = """
name = "tiny"
licence = "CC0-1.0"
out = "out"
save_every = 100

[clips]
manifest = "{manifest}"
train = ["train"]
choose = ["dev"]
evaluate = ["test1", "test2"]
without_category = "drop"

[network.streams.speech]
kind = "logmel"
num_mels = 24
dim = 32
num_blocks = 1
dropout = 0.0

[network.pooling]
kind = "style"
dim = 32
dropout = 0.0

[network.heads.vad]
hidden = 32
dropout = 0.0

[network.heads.region]
hidden = 32
dropout = 0.0

[fit]
epochs = 12
batch_size = 16
learning_rate = 3e-3
keep = "best"

[fit.terms.vad]
kind = "concordance"

[fit.terms.region]
kind = "cross-entropy"
schedule = "falling"

[fit.terms.category]
kind = "cross-entropy"
weight = 0.0
schedule = "falling"

[labels.category]
kind = "category"
words = ["anger", "sadness", "happiness", "surprise", "fear", "disgust", "contempt", "neutral"]
"""


def test_a_table_of_the_paper_is_trained_and_printed(tmp_path: Path, root: Path) -> None:
    from pipelines.prepare.command import prepare
    from pipelines.prepare.request import PrepareRequest
    from tests.corpora.msp_podcast import make_msp_podcast

    corpus = make_msp_podcast(tmp_path / "corpus", num_clips=240)
    manifest = tmp_path / "msp.parquet"
    prepare(PrepareRequest(source=str(corpus), format="msp-podcast", out=str(manifest), release="1.12", drop="O"))
    (tmp_path / "base.toml").write_text(BASE.format(manifest=manifest))
    table = root / "jobs" / "configs" / "paper" / "table-1.toml"
    out = tmp_path / "out"
    labels = ["proposed", "X kept, without style pooling and auxiliary loss"]
    result = ablate(table, out, over=tmp_path / "base.toml", seeds=1, labels=labels)

    first, last = result["rows"]
    assert first["label"] == "proposed"
    assert first["arousal"][0] > 0.5  # the corpus can be learnt: its sounds carry the labels
    assert first["macro_f1"]
    assert not last["macro_f1"]  # without the auxiliary loss there is no region head to judge
    assert last["against_first"] == pytest.approx([last["mean"][0] - first["mean"][0]])
    assert first["published"] == [0.6952, 0.7482, 0.6220]
    text = table_text(result)
    assert "| proposed | " in text
    assert "0.695 0.748 0.622" in text
    assert (out / "table-1.md").read_text() == text

    # X is learnt from in one row only, and judged in none.
    rows = {
        name: json.loads((out / name / "seed-0" / "evaluation.json").read_text())
        for name in ("proposed", "without-auxiliary-loss")
    }
    learnt = [rows[name]["trained_on"]["msp-podcast-1.12"]["clips"] for name in rows]
    assert learnt[0] < learnt[1]
    assert rows["proposed"]["test"]["clips"] == rows["without-auxiliary-loss"]["test"]["clips"]
    at_weight_zero = rows["proposed"]["heads_at_weight_zero"]
    assert at_weight_zero["epochs"] == 3  # a quarter of the twelve
    assert {"uar", "macro_f1", "accuracy"} <= at_weight_zero.keys()

    assert set(rows["proposed"]["splits"]) == {"test1", "test2"}
    at_zero = load_checkpoint(out / "proposed" / "seed-0" / AT_WEIGHT_ZERO)
    assert at_zero.digest != load_checkpoint(out / "proposed" / "seed-0").digest
    assert not (out / "without-auxiliary-loss" / "seed-0" / AT_WEIGHT_ZERO).exists()

    before = (out / "proposed" / "seed-0" / "model.safetensors").stat().st_mtime_ns
    assert ablate(table, out, over=tmp_path / "base.toml", seeds=1, labels=labels) == result
    assert (out / "proposed" / "seed-0" / "model.safetensors").stat().st_mtime_ns == before


def test_a_row_that_is_not_there_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UsageError, match="has no row nonsense; its rows are proposed, X kept"):
        ablate(root / "jobs" / "configs" / "paper" / "table-1.toml", tmp_path, labels=["nonsense"])
