"""The shipped training configurations are valid and differ in what they say; what makes no sense is refused."""

from pathlib import Path
from typing import Any

import pytest

from emosphere.config import from_mapping, load_config, load_tables, to_mapping
from emosphere.errors import UsageError
from emosphere.tasks import Task
from emosphere.training.terms import Term
from pipelines.train.config import TrainConfig
from tests.tasks.syllables import SquaredError, SyllablesTask

SHIPPED = [
    path
    for folder in ("train", "paper", "acted")
    for path in sorted((Path(__file__).parents[3] / "jobs" / "configs" / folder).glob("*.toml"))
    if not path.name.startswith("table-")
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_training_configuration_is_valid(path: Path) -> None:
    config = load_config(TrainConfig, path)
    assert config.tasks["vad"].outputs == 3
    assert config.tasks["region"].outputs in (8, 18, 32)


def test_the_papers_rows_differ_from_the_proposed_in_one_thing_each(root: Path) -> None:
    paper = root / "jobs" / "configs" / "paper"
    proposed = to_mapping(load_config(TrainConfig, paper / "proposed.toml"))

    def changes(name: str, base: dict[str, Any] = proposed, prefix: str = "") -> set[str]:
        return differences(to_mapping(load_config(TrainConfig, paper / f"{name}.toml")), base, prefix) - {"out"}

    assert changes("x-kept") == {"clips.without_category"}
    assert changes("constant-weight") == {"fit.terms.region.schedule"}
    assert changes("plain-cross-entropy") == {"fit.terms.region.class_weighted"}
    assert changes("regions-18") == changes("regions-32") == {"labels.region.regions"}
    assert changes("categorical-auxiliary") == {
        "fit.terms.region.weight", "fit.terms.category.weight", "network.heads.category", "auxiliary_heads",
    }  # fmt: skip
    kept = to_mapping(load_config(TrainConfig, paper / "x-kept.toml"))
    assert all(name.startswith("network.pooling") for name in changes("without-style-pooling", kept))
    without = to_mapping(load_config(TrainConfig, paper / "without-style-pooling.toml"))
    assert changes("without-auxiliary-loss", without) == {"fit.terms.region.weight", "auxiliary_heads"}


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


SMOKE = {
    "name": "x", "licence": "CC0-1.0", "out": "out", "clips": {"manifest": "m.csv"},
    "network": {
        "streams": {"speech": {"kind": "logmel"}}, "pooling": {"kind": "mean"}, "heads": {"vad": {}, "region": {}},
    },
    "fit": {"terms": {"vad": {"kind": "concordance"}, "region": {"kind": "cross-entropy"}}},
}  # fmt: skip


def changed(settings: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the setting at ``path``."""
    head, _, rest = path.partition("/")
    return settings | {head: changed(settings.get(head, {}), rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("network/encoder", {"kind": "logmel"}, r"'encoder' is .* earlier version. .*\[network.streams.speech\]"),
        ("network/heads/region/outputs", 18, r"'outputs' is .* earlier version. .*`regions = 18`"),
        ("clips/categories", ["joy"], r"'categories' is .* earlier version. .*\[labels.category\].*\[\"joy\"\]"),
        ("encoder_weights", "w", r"'encoder_weights' is .* earlier version. .*`\[weights\]` with `speech = \"w\"`"),
        ("fit/loss", {}, r"'loss' is .* earlier version(.|\n)*\[fit.terms.vad\]"),
        ("fit/concordance", "batch", r"'concordance' is .* earlier version.*scope = \"batch\""),
        ("network/heads/category", {}, r"nothing teaches network.heads.category: add \[fit.terms.category\] .*cross-e"),
        ("network/heads/age", {}, r"'age' answers the label 'age', of which nothing is known.*\[labels.age\]"),
        ("fit/terms/category", {"kind": "cross-entropy"}, "teaches the head 'category', which network.heads does not"),
        ("fit/terms/region", {"kind": "concordance"}, "cannot teach labels of kind 'region'; 'cross-entropy' can"),
        ("fit/terms/region", {"kind": "hinge"}, "kind = one of 'concordance', 'cross-entropy'; found kind = 'hinge'"),
        ("network/heads/region/reads", "speech", "a head that answers labels of kind 'region' reads 'clip'"),
        ("network/heads/region/reads", "other", "reads='other' is neither 'clip' nor a stream: speech"),
        ("network/streams/other", {"kind": "logmel"}, r"say by \[network.fusion\] kind = one of first, concat"),
        ("network/streams/pooling", {"kind": "logmel"}, "pooling cannot name a stream or a head"),
        ("labels", {"vad": {"kind": "category"}}, "a head called 'vad' answers those of kind 'vad', so"),
        ("network/heads/keys", {"label": "category"}, "'keys' cannot be the name of a stream or a head: torch means"),
        ("fit/terms/values", {"kind": "concordance", "head": "vad"}, "'values' cannot be the name of a term: .* torch"),
        ("network/streams/speech/kind", "mp3", "kind = one of 'logmel', .*; found kind = 'mp3'"),
        ("network/heads/again", {"label": "vad"}, "'vad' and 'again' would both fill the column 'valence'"),
        ("weights", {"speech": "folder"}, "weights.speech: no pretrained stream is called so; the streams are speech"),
        ("spectrum", {"streams": ["mfcc"]}, r"spectrum.streams names \['mfcc'\]; the streams are speech"),
        ("fit/learning_rates", {"encoder": 1e-4}, r"names \['encoder'\]; the parts are streams, pooling, heads, s"),
        ("fit/choose_by", "category", "fit.choose_by='category' is no head, of vad, region"),
        ("auxiliary_heads", ["vad", "region"], "names every head, .*; keep at least one"),
        ("auxiliary_heads", ["category"], r"names \['category'\]; network.heads has vad, region"),
        ("labels", {"region": {"kind": "region", "regions": 9}}, "regions: 9 is not one of 8, 18, 32"),
        ("network/pooling/kind", "median", "kind: 'median' is not one of 'style', 'statistics', 'mean'"),
        ("labels", {"regoin": {"kind": "region", "regions": 18}}, r"no head answers labels\.regoin: .* vad, region"),
        ("labels", {"category": {"kind": "category", "words": ["joy", "joy"]}}, "two or more different words"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_what_does(path: str, value: Any, message: str) -> None:
    from_mapping(TrainConfig, SMOKE, source="train.toml")
    with pytest.raises(UsageError, match=message):
        from_mapping(TrainConfig, changed(SMOKE, path, value), source="train.toml")


def test_a_file_of_an_earlier_version_is_told_all_its_lines_at_once() -> None:
    old = changed(changed(SMOKE, "network/heads/vad/outputs", 3), "fit/loss", {})
    old = changed(changed(old, "clips/categories", ["joy"]), "encoder_weights", "w")
    with pytest.raises(UsageError) as refused:
        from_mapping(TrainConfig, old, source="train.toml")
    named = [line.split("'")[1] for line in str(refused.value).splitlines() if "earlier version" in line]
    assert sorted(named) == ["categories", "encoder_weights", "loss", "outputs"]


def test_a_head_that_is_not_kept_may_share_a_column() -> None:
    twice = changed(SMOKE, "network/heads/again", {"label": "vad"})
    twice = changed(twice, "fit/terms/again", {"kind": "concordance"})
    assert from_mapping(TrainConfig, twice | {"auxiliary_heads": ["again"]}, source="train.toml").tasks.keys() == {
        "vad", "region", "again",
    }  # fmt: skip


def test_a_head_that_reads_frames_has_terms_over_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Task.KINDS, "syllables", SyllablesTask)
    monkeypatch.setitem(Term.KINDS, "squared-error", SquaredError)
    settings = changed(SMOKE, "network/heads/syllables", {"reads": "speech"})
    for scope in ("update", "batch"):
        term = {"kind": "squared-error", "scope": scope}
        with pytest.raises(UsageError, match=f"fit.terms.syllables.scope='{scope}': the head 'syllables' reads frames"):
            from_mapping(TrainConfig, changed(settings, "fit/terms/syllables", term), source="test")
    term = {"kind": "squared-error", "scope": "piece"}
    from_mapping(TrainConfig, changed(settings, "fit/terms/syllables", term), source="test")
