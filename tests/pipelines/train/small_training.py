"""Settings of a training that takes seconds, and its log."""

import json
from pathlib import Path
from typing import Any

from emosphere.emotion_words import EMOTIONS

CONFIG = """
name = "tiny"
licence = "CC0-1.0"
out = "{out}"
folds = {folds}
save_every = 2
auxiliary_heads = ["category"]
card = "# Tiny\\n\\n{{figures}}\\n"

[clips]
manifest = "{manifest}"
train = ["train"]
evaluate = ["test"]
{clips}

[network]
members = 2

[network.streams.speech]
kind = "logmel"
num_mels = 12
dim = 8
num_blocks = 1
dropout = 0.0

[network.pooling]
kind = "style"
dim = 8
dropout = 0.0

[network.heads]
vad = {{ hidden = 8, dropout = 0.0 }}
region = {{ hidden = 8, dropout = 0.0 }}
category = {{ hidden = 8, dropout = 0.0 }}

[fit]
epochs = {epochs}
batch_size = 9
learning_rate = 1e-3
ema_decay = 0.9
{fit}

[fit.terms]
vad = {{ kind = "concordance" }}
region = {{ kind = "cross-entropy", schedule = "falling", span = 0.5 }}
category = {{ kind = "cross-entropy", weight = 0.5 }}

[labels.category]
kind = "category"
words = {words}
"""


def write(folder: Path, manifest: Path, **settings: Any) -> Path:
    values = {"out": folder / "out", "manifest": manifest, "folds": 0, "epochs": 2, "fit": "", "clips": ""} | settings
    values = {"words": json.dumps(EMOTIONS)} | values
    path = folder / "train.toml"
    path.write_text(CONFIG.format(**values))
    return path


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
