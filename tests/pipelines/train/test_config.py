"""The shipped training configurations are valid and differ in what they say; what makes no sense is refused."""

from pathlib import Path
from typing import Any

import pytest

from emosphere.config import load_config, load_tables, to_mapping
from pipelines.train.config import TrainConfig

SHIPPED = [
    path
    for folder in ("train", "paper", "acted")
    for path in sorted((Path(__file__).parents[3] / "jobs" / "configs" / folder).glob("*.toml"))
    if not path.name.startswith("table-")
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_training_configuration_is_valid(path: Path) -> None:
    config = load_config(TrainConfig, path)
    assert config.num_regions in (8, 18, 32)


def test_the_papers_rows_differ_from_the_proposed_in_one_thing_each(root: Path) -> None:
    paper = root / "jobs" / "configs" / "paper"
    proposed = to_mapping(load_config(TrainConfig, paper / "proposed.toml"))

    def changes(name: str, base: dict[str, Any] = proposed, prefix: str = "") -> set[str]:
        return differences(to_mapping(load_config(TrainConfig, paper / f"{name}.toml")), base, prefix) - {"out"}

    assert changes("x-kept") == {"clips.without_category"}
    assert changes("constant-weight") == {"fit.loss.region_schedule"}
    assert changes("plain-cross-entropy") == {"fit.loss.class_weighted"}
    assert changes("regions-18") == changes("regions-32") == {"network.heads.region.outputs"}
    assert changes("categorical-auxiliary") == {"fit.loss.joint_head", "network.heads.category", "auxiliary_heads"}
    kept = to_mapping(load_config(TrainConfig, paper / "x-kept.toml"))
    assert all(name.startswith("network.pooling") for name in changes("without-style-pooling", kept))
    without = to_mapping(load_config(TrainConfig, paper / "without-style-pooling.toml"))
    assert changes("without-auxiliary-loss", without) == {"fit.loss.region_schedule", "auxiliary_heads"}


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> set[str]:
    different = set()
    for key in one.keys() | other.keys():
        mine, its = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(its, dict):
            different |= differences(mine, its, f"{prefix}{key}.")
        elif mine != its:
            different.add(f"{prefix}{key}")
    return different


def test_the_published_figures_are_those_of_the_design_notes(root: Path) -> None:
    """Means of the rows, to the paper's own rounding."""
    means = {}
    for number in (1, 2, 3):
        for row in load_tables(root / "jobs" / "configs" / "paper" / f"table-{number}.toml")["rows"]:
            means[row["label"]] = sum(row["published"]) / 3
    expected = {
        "proposed": 0.6884, "X kept": 0.6855, "X kept, without style pooling": 0.6852,
        "X kept, without style pooling and auxiliary loss": 0.6801, "constant weight": 0.6875,
        "categorical emotion auxiliary": 0.6845, "unweighted cross entropy": 0.6876, "8 regions (90 degrees)": 0.6884,
        "18 regions (60 degrees)": 0.6863, "32 regions (45 degrees)": 0.6808,
    }  # fmt: skip
    assert means == pytest.approx(expected, abs=1.1e-4)
