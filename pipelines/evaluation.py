"""What a trained network achieves on held-out speakers, as JSON, and the model card that quotes it."""

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from emosphere.config import to_mapping
from emosphere.data.collate import HeardClips
from emosphere.geometry import REGION_NAMES, region_of
from emosphere.metrics import ccc, region_report
from emosphere.model.checkpoint import CheckpointConfig, save_checkpoint
from emosphere.model.network import Network
from emosphere.training import Answers, answers_for
from emosphere.vad import VAD_DIMS
from pipelines.card import EVALUATION_NAME, card_text

if TYPE_CHECKING:
    from pipelines.train import TrainConfig


def figures_for(answers: Answers, heard: HeardClips, rows: list[int], num_regions: int) -> dict[str, Any]:
    """Concordance and region figures of ``answers``, which are in the order of ``rows``; in all and per corpus."""
    figures = _figures(answers, heard, rows, num_regions)
    corpora = sorted({heard.clips[row].corpus for row in rows})
    figures["corpora"] = {}
    for corpus in corpora:
        places = [place for place, row in enumerate(rows) if heard.clips[row].corpus == corpus]
        part = {name: answer[places] for name, answer in answers.items()}
        figures["corpora"][corpus] = _figures(part, heard, [rows[place] for place in places], num_regions)
    return figures


def write_evaluation(
    network: Network,
    checkpoint: CheckpointConfig,
    heard: HeardClips,
    config: "TrainConfig",
    crossval: dict[str, Any] | None,
    out: Path,
) -> None:
    """Evaluate on the splits kept apart; write the checkpoint folder with evaluation.json and the card."""
    num_regions = config.network.num_regions or 8
    rows = [row for row, clip in enumerate(heard.clips) if clip.split in config.clips.evaluate]
    evaluation: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "name": config.name,
        "parameters": sum(tensor.numel() for tensor in network.parameters()),
        "region_temperature": checkpoint.region_temperature,
        "trained_on": _counts(heard, config.clips.train),
        "evaluated_on": _counts(heard, config.clips.evaluate),
        "regions_that_never_occur": _absent_regions(heard, config.clips.train, num_regions),
        "settings": _settings(config),
        "cross_validation": crossval,
        "test": None,
        "test_distorted": None,
        "rated": _rated(network, heard),
    }
    if rows:
        evaluation["test"] = figures_for(answers_for(network, heard, rows), heard, rows, num_regions)
        if len(heard.versions) > 1:
            answers = answers_for(network, heard, rows, version=len(heard.versions) - 1)
            evaluation["test_distorted"] = figures_for(answers, heard, rows, num_regions)
    (out / EVALUATION_NAME).write_text(json.dumps(evaluation, indent=1) + "\n", encoding="utf-8")
    # The figures in the card are those just written.
    save_checkpoint(network, out, checkpoint, card=card_text(config.card, evaluation))


def short_figures(out: Path) -> dict[str, Any]:
    """What a run says at its end, from the evaluation it wrote."""
    evaluation = json.loads((out / EVALUATION_NAME).read_text(encoding="utf-8"))
    short = {name: evaluation[name] for name in ("parameters", "region_temperature")}
    return short | {name: _short(evaluation[name]) for name in ("cross_validation", "test")}


def _figures(answers: Answers, heard: HeardClips, rows: list[int], num_regions: int) -> dict[str, Any]:
    targets = heard.targets(rows)
    agreement = ccc(answers["vad"].clamp(-1, 1), targets["vad"])
    figures: dict[str, Any] = {
        "clips": len(rows),
        "speakers": len({heard.clips[row].speaker for row in rows}),
        "ccc": {dim: round(float(value), 4) for dim, value in zip(VAD_DIMS, agreement, strict=True)},
    }
    if not (targets["region"] >= 0).any():
        return figures
    figures["region_of_vad"] = _regions(region_of(answers["vad"]), targets["region"], num_regions)
    if "region" in answers:
        figures["region_head"] = _regions(answers["region"].argmax(dim=1), targets["region"], num_regions)
    return figures


def _regions(predicted: torch.Tensor, target: torch.Tensor, num_regions: int) -> dict[str, Any]:
    report = region_report(predicted, target, num_regions)
    occurring = report.confusion.sum(dim=1) > 0
    names = REGION_NAMES[num_regions]
    return {
        "clips": int(report.confusion.sum()),
        "uar": round(report.uar, 4),
        "chance": round(1 / int(occurring.sum()), 4),
        "macro_f1": round(report.macro_f1, 4),
        "accuracy": round(report.accuracy, 4),
        "names": list(names),
        "confusion": {names[index]: report.confusion[index].tolist() for index in torch.nonzero(occurring)[:, 0]},
    }


def _rated(network: Network, heard: HeardClips) -> dict[str, Any] | None:
    """Against listeners' ratings of valence and arousal, where a corpus has them."""
    rows = [row for row, clip in enumerate(heard.clips) if clip.rated]
    if len(rows) < 2:
        return None
    ratings = torch.tensor([heard.clips[row].rated for row in rows])
    agreement = ccc(answers_for(network, heard, rows)["vad"][:, :2].clamp(-1, 1), ratings)
    return {
        "clips": len(rows),
        "ccc": {"valence": round(float(agreement[0]), 4), "arousal": round(float(agreement[1]), 4)},
    }


def _counts(heard: HeardClips, splits: tuple[str, ...]) -> dict[str, dict[str, int]]:
    clips = [clip for clip in heard.clips if clip.split in splits]
    return {
        corpus: {
            "clips": sum(clip.corpus == corpus for clip in clips),
            "speakers": len({clip.speaker for clip in clips if clip.corpus == corpus}),
        }
        for corpus in sorted({clip.corpus for clip in clips})
    }


def _absent_regions(heard: HeardClips, splits: tuple[str, ...], num_regions: int) -> list[str]:
    found = {clip.region for clip in heard.clips if clip.split in splits}
    return [name for index, name in enumerate(REGION_NAMES[num_regions]) if index not in found]


def _settings(config: "TrainConfig") -> dict[str, Any]:
    """Settings but for the card, and for folders of the machine that trained."""
    settings = to_mapping(config)
    settings["clips"]["manifest"] = Path(config.clips.manifest).name
    return {name: value for name, value in settings.items() if name not in ("card", "out", "encoder_weights")}


def _short(figures: dict[str, Any] | None) -> dict[str, float] | None:
    if figures is None:
        return None
    return figures["ccc"] | {key: figures[key]["uar"] for key in ("region_head", "region_of_vad") if key in figures}
