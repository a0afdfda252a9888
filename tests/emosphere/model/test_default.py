"""The bundled model: its card quotes its evaluation, and it hears more than chance in voices it never features."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from emosphere.clips.batches import read_clip
from emosphere.clips.manifest import read_manifest
from emosphere.geometry import region_of
from emosphere.metrics import ccc, class_report
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.predict import Predictor
from emosphere.tasks import Target
from emosphere.tasks.region import num_regions
from emosphere.vad import VAD_DIMS

FOLDER = Path(__file__).parents[3] / "emosphere" / "model" / "default"
Scored = tuple[torch.Tensor, torch.Tensor, torch.Tensor, Target]
"""(clip, 3) VAD and (clip, region) probabilities answered, (clip, 3) VAD and the regions wanted."""


def test_it_is_small_and_says_what_it_is() -> None:
    checkpoint = load_checkpoint(FOLDER)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10e6
    assert checkpoint.name == "emosphere-default"
    assert checkpoint.licence == "CC-BY-NC-SA-4.0"
    assert checkpoint.config.max_clip_s == 12
    assert num_regions(checkpoint.config.tasks) == 8
    assert checkpoint.digest == "45616d476553"  # whatever was scored with it stays finished


def test_the_card_says_what_it_must() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for words in (
        "not what a person feels", "not validated", "CC BY-NC-SA 4.0", "RAVDESS", "nEMO", "emotiontts", "Thorsten",
        "at work or in education", "Regulation (EU) 2024/1689", "Russell & Mehrabian",
    ):  # fmt: skip
        assert words in card


def test_card_and_evaluation_agree() -> None:
    from emosphere.config import load_config
    from pipelines.card.text import card_text  # the card's maker stands above the library
    from pipelines.train.config import TrainConfig

    evaluation = json.loads((FOLDER / "evaluation.json").read_text(encoding="utf-8"))
    config = load_config(TrainConfig, FOLDER.parents[2] / "jobs" / "configs" / "train" / "default.toml")
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    trained, heading, measured = card.partition("\n## Evaluation on split test")
    assert trained == card_text(config.card, evaluation, load_checkpoint(FOLDER).config.tasks)
    assert heading, "docs/train.md says how the intervals are added"
    [intervals] = [line for line in measured.splitlines() if line.startswith("| ccc |")]
    expected = [f"{evaluation['test']['ccc'][dim]:.2f}" for dim in VAD_DIMS]
    assert [cell.split()[0] for cell in intervals.strip("| ").split("|")[1:]] == expected


def test_its_settings_are_those_of_the_shipped_configuration() -> None:
    from emosphere.config import from_mapping, load_config
    from pipelines.train.config import TrainConfig

    evaluation = json.loads((FOLDER / "evaluation.json").read_text(encoding="utf-8"))
    trained = from_mapping(TrainConfig, evaluation["settings"] | {"out": ""}, source="evaluation.json")
    shipped = load_config(TrainConfig, FOLDER.parents[2] / "jobs" / "configs" / "train" / "default.toml")
    for part in ("network", "labels", "fit", "distortion", "spectrum", "seed", "folds", "auxiliary_heads"):
        assert getattr(trained, part) == getattr(shipped, part), part


@pytest.fixture(scope="module")
def scored(shared_data: Path) -> Scored:
    """VAD and region answers for every second clip of the test speakers, with their targets."""
    clips = [clip for clip in read_manifest(str(shared_data / "emotion" / "manifest.csv")) if clip.split == "test"][::2]
    checkpoint = load_checkpoint(FOLDER)
    prediction = Predictor(checkpoint, batch_s=40.0).predict([read_clip(clip) for clip in clips])
    vad, probs = (torch.from_numpy(prediction[head]) for head in ("vad", "region"))
    targets = {head: task.target(clips) for head, task in checkpoint.config.tasks.items()}
    assert bool(targets["vad"].is_known.all())
    return vad, probs, targets["vad"].values, targets["region"]


def test_it_is_clearly_better_than_chance_on_speakers_it_never_heard(scored: Scored) -> None:
    vad, probs, target, regions = scored
    valence, arousal, _ = ccc(vad, target).tolist()
    assert valence > 0.25
    assert arousal > 0.45
    known = regions.is_known
    assert class_report(probs.argmax(dim=1)[known], regions.values[known], 8).uar > 0.30  # chance is 1 / 6
    assert class_report(region_of(vad)[known], regions.values[known], 8).uar > 0.25


def test_a_later_beginning_changes_little(shared_data: Path) -> None:
    """Frames of 64 ms begin where the clip does. Thinned without a filter they moved valence by .08 in the mean."""
    clips = [clip for clip in read_manifest(str(shared_data / "emotion" / "manifest.csv")) if clip.split == "test"][::6]
    predictor, waveforms = Predictor(load_checkpoint(FOLDER), batch_s=40.0), [read_clip(clip) for clip in clips]
    first = predictor.predict(waveforms)["vad"]
    for late_ms in (16, 32, 48):
        moved = np.abs(predictor.predict([waveform[16 * late_ms :] for waveform in waveforms])["vad"] - first)
        assert moved.mean(axis=0).max() < 0.04, late_ms


def test_its_probabilities_mean_what_they_say(scored: Scored) -> None:
    _, probs, _, regions = scored
    known = regions.is_known
    sure, right = probs.max(dim=1).values[known], (probs.argmax(dim=1) == regions.values)[known]
    assert abs(float(sure.mean()) - float(right.float().mean())) < 0.15


def test_its_figures_are_those_of_the_evaluation(scored: Scored) -> None:
    vad, _, target, _ = scored
    evaluation = json.loads((FOLDER / "evaluation.json").read_text(encoding="utf-8"))["test"]["ccc"]
    np.testing.assert_allclose(ccc(vad, target)[1], evaluation["arousal"], atol=0.1)
