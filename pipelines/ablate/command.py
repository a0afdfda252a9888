"""A table of trainings that differ in one thing each, over several seeds, beside the published figures."""

import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emosphere.config import from_mapping, load_config, load_tables
from emosphere.errors import UsageError
from emosphere.model.description import EVALUATION_NAME
from emosphere.tasks.vad import VAD
from emosphere.vad import VAD_DIMS
from pipelines.train.command import train_with
from pipelines.train.config import TrainConfig
from pipelines.train.features import FeatureCache
from pipelines.train.progress import OnProgress

REGION_FIGURES = ("macro_f1", "accuracy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One training of a table."""

    label: str
    """What it is called."""
    config: str
    """Its settings: a TOML file, from the table's own folder."""
    published: tuple[float, ...] = ()
    """CCC of valence, arousal and dominance as published."""
    published_regions: tuple[float, ...] = ()
    """Macro-F1 and accuracy over regions as published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Trainings to compare; the first is what the others are held against."""

    title: str
    """Heading of the printed table."""
    rows: tuple[Row, ...]
    """The trainings, the one to compare with first."""
    split: str | None = None
    """Split to report on; None: all that the trainings report on, together."""

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("a table needs at least one row.")


def ablate(
    table_path: Path,
    out: Path,
    *,
    over: Path | None = None,
    seeds: int = 3,
    labels: Sequence[str] = (),
    split: str | None = None,
    num_workers: int = 1,
    on_line: Callable[[str], None] = lambda line: None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Train every row with every seed (finished ones are not trained again) and compare them.

    ``over`` takes the place of the settings that the rows build on, so that the same table can be run on another
    corpus or size; ``labels`` picks rows, ``split`` what to report on. Writes TABLE.json and TABLE.md to ``out``, which
    several tables may share: a training that they have in common is run once.
    """
    table = from_mapping(Table, load_tables(table_path), source=str(table_path))
    rows = [row for row in table.rows if not labels or row.label in labels]
    unknown = set(labels) - {row.label for row in table.rows}
    if unknown or not rows:
        known = ", ".join(row.label for row in table.rows)
        raise UsageError(f"{table_path}: has no row {', '.join(sorted(unknown))}; its rows are {known}.")
    configs = {row.label: load_config(TrainConfig, table_path.parent / row.config, over=over) for row in rows}
    kinds = {label: {task.kind for task in config.tasks.values()} for label, config in configs.items()}
    if without := [label for label in configs if VAD not in kinds[label]]:
        raise UsageError(f"{table_path}: the rows are compared by VAD, which {', '.join(without)} does not answer.")
    # Over another corpus the table's own split may not exist.
    splits = set.intersection(*(set(config.clips.evaluate) for config in configs.values()))
    if split is not None and split not in splits:
        raise UsageError(f"--split {split}: the rows report on {', '.join(sorted(splits))} (clips.evaluate).")
    reported_split = split or (table.split if table.split in splits else None)
    figures: dict[str, list[dict[str, Any]]] = {row.label: [] for row in rows}
    feature_cache = FeatureCache()
    # Seed by seed: with distortions every seed has other features, and only one set of them is kept.
    for seed in range(seeds):
        for row in rows:
            folder = out / Path(row.config).stem / f"seed-{seed}"
            on_line(f"{row.label}: seed {seed} of {seeds}")
            config = dataclasses.replace(configs[row.label], seed=seed, out=str(folder), folds=0)
            train_with(config, num_workers=num_workers, feature_cache=feature_cache, on_progress=on_progress)
            evaluation = json.loads((folder / EVALUATION_NAME).read_text(encoding="utf-8"))
            figures[row.label].append(evaluation["splits"][reported_split] if reported_split else evaluation["test"])
    result = {
        "title": table.title,
        "split": reported_split,
        "seeds": seeds,
        "over": None if over is None else str(over),
        "rows": [_row(row, figures[row.label], figures[rows[0].label]) for row in rows],
    }
    (out / f"{table_path.stem}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / f"{table_path.stem}.md").write_text(table_text(result), encoding="utf-8")
    return result


def table_text(result: dict[str, Any]) -> str:
    """The comparison as a Markdown table: mean and deviation over seeds, then what was published."""
    header = ["", "valence", "arousal", "dominance", "mean", "against the first", "region F1", "accuracy", "published"]
    lines = [header, ["---"] * len(header)]
    for row in result["rows"]:
        published = " ".join(f"{value:.3f}" for value in [*row["published"], *row["published_regions"]])
        measured = [_mean_and_deviation(row[name]) for name in (*VAD_DIMS, "mean", "against_first", *REGION_FIGURES)]
        lines.append([row["label"], *measured, published])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{result['title']} ({result['seeds']} seeds, mean ± deviation of CCC)\n\n{table}\n"


def _row(row: Row, figures: list[dict[str, Any]], first: list[dict[str, Any]]) -> dict[str, Any]:
    measured: dict[str, Any] = {dim: [one["ccc"][dim] for one in figures] for dim in VAD_DIMS}
    measured["mean"] = [_mean(one) for one in figures]
    # Seed by seed, since a seed shares the order of its clips between rows.
    measured["against_first"] = [_mean(one) - _mean(other) for one, other in zip(figures, first, strict=True)]
    for name in REGION_FIGURES:
        measured[name] = [one["region_head"][name] for one in figures if "region_head" in one]
    return {
        "label": row.label,
        **measured,
        "published": list(row.published),
        "published_regions": list(row.published_regions),
    }


def _mean(figures: dict[str, Any]) -> float:
    return statistics.fmean(figures["ccc"].values())


def _mean_and_deviation(values: list[float]) -> str:
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{deviation}"
