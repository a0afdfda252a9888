"""Small random models, filed exactly as their publishers file theirs, and a literal pass through what was filed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

from tests.encoders import TINY as TINY_ENCODER
from tests.rounding import assert_close, num_terms, rounding_bound

Tensors = dict[str, torch.Tensor]
Answer = Callable[[np.ndarray], np.ndarray]
"""From a waveform to arousal, dominance, valence in about [0, 1], as the publisher's code goes."""

TINY = TINY_ENCODER | {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
MEAN, STD = -0.00034, 0.0541


class Published:
    """A folder as published, and the literal pass through its tensors."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self.folder, self.answer = folder, answer

    def edit_config(self, **changes: Any) -> None:
        path = self.folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def edit_weights(self, edit: Callable[[Tensors], None]) -> None:
        from safetensors.torch import load_file

        path = self.folder / "model.safetensors"
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOSPHERE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "adopted"


@pytest.fixture
def clips() -> list[np.ndarray]:
    dice = np.random.default_rng(3)
    return [(0.1 * dice.standard_normal(length)).astype(np.float32) for length in (9000, 16_000, 4321)]


def named_as_published(tensors: Tensors) -> Tensors:
    """Weight norm under the names that PyTorch had when these models were published."""
    old = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    named = {}
    for name, tensor in tensors.items():
        for new, before in old.items():
            name = name.replace(new, before)
        named[name] = tensor.clone()
    return named


def encoder(kind: str, **settings: Any) -> Any:
    config = transformers.AutoConfig.for_model(kind, **(TINY | settings))
    model = transformers.AutoModel.from_config(config).eval()
    # Fresh weights answer almost the same to everything; these do not.
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
    return model


def baseline_parts(kind: str = "wavlm", **settings: Any) -> tuple[dict[str, Tensors], Answer]:
    """State dicts of encoder, pooling and regression as the challenge's scripts save them, and the pass by its code."""
    model = encoder(kind, **settings)
    width, hidden = model.config.hidden_size, 12
    pool = {"sap_linear.weight": torch.randn(width, width), "sap_linear.bias": torch.randn(width)}
    # Low enough that many frames count: where one does, the deviation is what rounding leaves of ``E x² - (E x)²``.
    pool |= {"attention": 0.3 * torch.randn(width, 1)}
    ser = {
        "fc.0.0.weight": 0.3 * torch.randn(hidden, 2 * width),
        "fc.0.0.bias": torch.randn(hidden),
        "fc.0.1.weight": torch.randn(hidden),
        "fc.0.1.bias": torch.randn(hidden),
        "out.0.weight": 0.1 * torch.randn(3, hidden),
        "out.0.bias": torch.tensor([0.4, 0.5, 0.6]),
    }

    @torch.no_grad()
    def answer(waveform: np.ndarray) -> np.ndarray:
        normalised = torch.tensor((waveform - MEAN) / (STD + 0.000001), dtype=torch.float32)[None]
        mask = torch.ones_like(normalised)
        frames = model(normalised, attention_mask=mask).last_hidden_state[0]
        length = int(torch.div(mask.sum() - 1, 16_000 * 0.02, rounding_mode="floor")) + 1
        frames = frames[:length]
        attention = torch.softmax(
            torch.tanh(frames @ pool["sap_linear.weight"].T + pool["sap_linear.bias"]) @ pool["attention"], dim=0
        )
        mean = (attention * frames).sum(0)
        deviation = ((attention * frames**2).sum(0) - mean**2).clamp(min=1e-5).sqrt()
        hidden = torch.cat([mean, deviation]) @ ser["fc.0.0.weight"].T + ser["fc.0.0.bias"]
        hidden = (hidden - hidden.mean()) / (hidden.var(unbiased=False) + 1e-5).sqrt()
        hidden = torch.relu(hidden * ser["fc.0.1.weight"] + ser["fc.0.1.bias"])
        return (hidden @ ser["out.0.weight"].T + ser["out.0.bias"]).numpy()

    return {"ssl": named_as_published(model.state_dict()), "pool": pool, "ser": ser}, answer


def publish_odyssey(folder: Path) -> Published:
    parts, answer = baseline_parts()
    prefixes = {"ssl": "ssl_model.", "pool": "pool_model.", "ser": "ser_model."}
    tensors = {prefixes[part] + name: tensor for part, named in parts.items() for name, tensor in named.items()}
    folder.mkdir()
    config = {
        "architectures": ["SERModel"],
        "auto_map": {"AutoConfig": "pipeline_utils.SERConfig"},
        "classifier_dropout_prob": 0.5,
        "classifier_hidden_layers": 1,
        "hidden_size": 16,
        "id2label": {"0": "arousal", "1": "dominance", "2": "valence"},
        "mean": MEAN,
        "model_type": "ser",
        "num_classes": 3,
        "sampling_rate": 16000,
        "ssl_type": "microsoft/wavlm-large",
        "std": STD,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text('{"mean": 10}')
    (folder / "README.md").write_text("---\nlicense: mit\nlanguage:\n- en\n---\nThe model was trained ...\n")
    save_file(tensors, folder / "model.safetensors")
    return Published(folder, answer)


def publish_audeering(folder: Path) -> Published:
    model = encoder("wav2vec2", conv_bias=True)
    width = model.config.hidden_size
    head = {
        "classifier.dense.weight": torch.randn(width, width) / 4,
        "classifier.dense.bias": torch.randn(width),
        "classifier.out_proj.weight": 0.1 * torch.randn(3, width),
        "classifier.out_proj.bias": torch.tensor([0.4, 0.5, 0.6]),
    }
    tensors = {f"wav2vec2.{name}": tensor for name, tensor in named_as_published(model.state_dict()).items()} | head
    folder.mkdir()
    labels = {
        "architectures": ["Wav2Vec2ForSpeechClassification"],
        "id2label": {"0": "arousal", "1": "dominance", "2": "valence"},
        "finetuning_task": "wav2vec2_reg",
        "pooling_mode": "mean",
        "problem_type": "regression",
    }
    (folder / "config.json").write_text(json.dumps(model.config.to_dict() | labels))
    extractor = {"do_normalize": True, "feature_size": 1, "padding_side": "right", "padding_value": 0.0}
    extractor |= {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "return_attention_mask": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor | {"sampling_rate": 16_000}))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-nc-sa-4.0\n---\n# Model\n")
    save_file(tensors, folder / "model.safetensors")
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)

    @torch.no_grad()
    def answer(waveform: np.ndarray) -> np.ndarray:
        features = extractor(waveform, sampling_rate=16_000)["input_values"][0]
        vector = model(torch.from_numpy(np.asarray(features)).reshape(1, -1))[0].mean(dim=1)[0]
        hidden = torch.tanh(head["classifier.dense.weight"] @ vector + head["classifier.dense.bias"])
        return (head["classifier.out_proj.weight"] @ hidden + head["classifier.out_proj.bias"]).numpy()

    return Published(folder, answer)


def publish_challenge(folder: Path, prefix: str = "final") -> Published:
    parts, answer = baseline_parts()
    folder.mkdir()
    for part, tensors in parts.items():
        torch.save(tensors, folder / f"{prefix}_{part}.pt")
    (folder / "train_norm_stat.json").write_text(json.dumps({"mean": MEAN, "std": STD}))
    return Published(folder, answer)


@pytest.fixture
def odyssey(tmp_path: Path) -> Published:
    return publish_odyssey(tmp_path / "odyssey")


@pytest.fixture
def audeering(tmp_path: Path) -> Published:
    return publish_audeering(tmp_path / "audeering")


@pytest.fixture
def challenge(tmp_path: Path) -> Published:
    return publish_challenge(tmp_path / "challenge")


@pytest.fixture
def agree(clips: list[np.ndarray]) -> Callable[[Published], None]:
    """Converted and loaded, a model must answer what the literal pass answers, alone and in a padded batch."""
    from emosphere.model.checkpoint import load_checkpoint
    from emosphere.model.find import find_model
    from emosphere.model.predict import Predictor

    def check(published: Published) -> None:
        literal = np.stack([published.answer(clip) for clip in clips])
        arousal, dominance, valence = literal.T
        centred = 2 * np.stack([valence, arousal, dominance], axis=1) - 1
        # The comparison means nothing where all is alike or clipped.
        assert np.abs(centred).max() < 1
        assert centred.std(axis=0).min() > 1e-3
        checkpoint = load_checkpoint(find_model(str(published.folder)))
        predictor = Predictor(checkpoint)
        together = predictor.predict(clips)
        assert list(together) == ["vad"]
        alone = np.concatenate([predictor.predict([clip])["vad"] for clip in clips])
        # Two layers attend to the 49 frames of the longest clip, a pooling takes their mean and perhaps deviation.
        bound = rounding_bound(torch.float32, num_terms(checkpoint.network, 3 * 49))
        for found in (together["vad"], alone):
            assert_close(found, centred, bound)

    return check
