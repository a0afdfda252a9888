"""A model and a manifest become figures, a table of answers and a page that needs nothing else."""

import csv
import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from emosphere.clips.manifest import read_manifest
from emosphere.errors import BadClip, UsageError
from emosphere.evaluation import predict_clips as module
from emosphere.evaluation.drawn_figures import FIGURES
from emosphere.model.checkpoint import load_checkpoint, save_checkpoint
from emosphere.model.find import BUNDLED
from emosphere.model.network import Network
from emosphere.tasks import Labelled, Task
from emosphere.tasks.category import CategoryTask
from emosphere.tasks.rated import RatedTask
from pipelines.card.text import model_card
from pipelines.evaluate.command import AT_WEIGHT_ZERO, evaluate

NUM_CLIPS = 40


@pytest.fixture(scope="module")
def manifest(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every sixteenth clip of the test speakers, and one that is broken in a split of its own with another."""
    with (shared_data / "emotion" / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][::16][:NUM_CLIPS]
    path = tmp_path_factory.mktemp("evaluate") / "manifest.csv"
    (path.parent / "broken.wav").write_bytes(b"no audio")
    rows = [row | {"path": str(shared_data / row["path"])} for row in rows]
    odd = [row | {"split": "odd"} for row in rows[:3]]
    odd[1] |= {"path": str(path.parent / "broken.wav"), "speaker": "<script>x</script>"}
    odd[2] |= {"corpus": "<b> & co", "speaker": "somebody"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows + odd)
    return path


def changed_model(folder: Path, change: Any) -> Path:
    """The bundled model with other weights in its members' VAD heads."""
    checkpoint = load_checkpoint(BUNDLED)
    with torch.no_grad():
        for member in checkpoint.network.members:
            change(list(member.heads["vad"].modules())[-1])
    config = dataclasses.replace(checkpoint.config, name=folder.name)
    save_checkpoint(checkpoint.network, folder, config, card="")
    return folder


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, its VAD weights shuffled a little; with the whole network of 'before' inside."""

    def shake(linear: torch.nn.Linear) -> None:
        torch.manual_seed(0)
        linear.weight += 0.05 * torch.randn_like(linear.weight)

    folder = changed_model(tmp_path_factory.mktemp("models") / "worse", shake)
    checkpoint = load_checkpoint(BUNDLED)
    save_checkpoint(checkpoint.network, folder / AT_WEIGHT_ZERO, checkpoint.config, card="")
    return folder


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LoudnessTask(RatedTask):
    """A toy: louder where the acted arousal is higher; the first clip was not rated."""

    dims: ClassVar[tuple[str, ...]] = ("level",)
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 10.0

    kind: Literal["loudness"] = "loudness"

    def labels(self, clips: Sequence[Labelled]) -> tuple[np.ndarray, np.ndarray]:
        values = np.array([5 + 5 * clip.vad[1] for clip in clips])[:, None]
        return values, np.arange(len(clips))[:, None] > 0


def model_of(folder: Path, labels: dict[str, Task]) -> Path:
    """The bundled model's encoder under new heads for ``labels``."""
    bundled = load_checkpoint(BUNDLED)
    head = bundled.config.network.heads["vad"]
    network_config = dataclasses.replace(bundled.config.network, heads=dict.fromkeys(labels, head), members=1)
    torch.manual_seed(0)
    network = Network(network_config, labels)
    body = {name: value for name, value in bundled.network.state_dict().items() if not name.startswith("others.")}
    network.load_state_dict({name: value for name, value in body.items() if "heads." not in name}, strict=False)
    config = dataclasses.replace(bundled.config, network=network_config, labels=labels, name=folder.name)
    save_checkpoint(network, folder, config, card="")
    return folder


@pytest.fixture(scope="module")
def evaluated(manifest: Path, worse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "evaluation"
    evaluate("default", str(manifest), split="test", out=str(out), against=str(worse), num_bootstrap=200)
    return out


def read(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return result


def test_all_that_was_asked_is_in_the_json(evaluated: Path, manifest: Path) -> None:
    evaluation = read(evaluated)
    assert evaluation["model"]["name"] == "emosphere-default"
    assert evaluation["clips"]["listed"] == evaluation["clips"]["evaluated"] == NUM_CLIPS
    assert evaluation["clips"]["weak"] == NUM_CLIPS
    assert evaluation["overall"]["speakers"] == len(
        {c.speaker for c in read_manifest(str(manifest)) if c.split == "test"}
    )
    assert set(evaluation["overall"]["figures"]) == set(FIGURES)
    assert evaluation["overall"]["figures"]["ccc"]["arousal"]["value"] > 0.3
    assert set(evaluation["slices"]) == {"corpus", "gender", "duration", "level", "category"}
    assert sum(part["clips"] for part in evaluation["slices"]["corpus"].values()) == NUM_CLIPS
    assert evaluation["overall"]["figures"]["uar"]["head_at_weight_zero"]["value"] is None


def test_the_other_model_is_compared_and_its_earlier_head_measured(evaluated: Path) -> None:
    evaluation = read(evaluated)
    comparison = evaluation["comparison"]["ccc"]["mean"]
    ours, theirs = (evaluation[part]["figures"]["ccc"]["mean"]["value"] for part in ("overall", "against_overall"))
    assert (comparison["first"], comparison["second"]) == (ours, theirs)
    assert comparison["low"] <= comparison["difference"] <= comparison["high"]
    earlier = evaluation["against_overall"]["figures"]["uar"]["head_at_weight_zero"]
    assert earlier == evaluation["overall"]["figures"]["uar"]["head"]


def test_answers_are_a_row_per_clip(evaluated: Path) -> None:
    table = pq.read_table(evaluated / "predictions.parquet")
    assert len(table) == len(pq.read_table(evaluated / "predictions_against.parquet")) == NUM_CLIPS
    assert table["valence_target"].null_count == 0


def test_nothing_that_is_written_holds_a_signature(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = read_manifest(str(manifest))
    odd = next(clip for clip in clips if clip.uri.endswith("broken.wav"))
    signed = "https://ann:secret@127.0.0.1:9/x?X-Amz-Signature=secret"
    clips[clips.index(odd)] = dataclasses.replace(odd, uri=signed)

    def read_clip(clip: Any, *, max_s: float) -> Any:
        if clip.uri == signed:
            raise BadClip(f"{clip.uri}: cannot be read.")
        return real(clip, max_s=max_s)

    real = module.read_clip
    monkeypatch.setattr(module, "read_clip", read_clip)
    monkeypatch.setattr("pipelines.evaluate.command.read_manifest", lambda path: clips)
    result = evaluate(
        "default", signed, split="odd", out=str(tmp_path), against="default", num_bootstrap=100, max_unreadable=1
    )
    assert read(tmp_path)["manifest"] == "https://127.0.0.1:9/x"
    assert read(tmp_path)["clips"]["unreadable"][0]["uri"] == "https://127.0.0.1:9/x"
    assert "secret" not in json.dumps(result)
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes(), path.name


def test_the_page_is_whole_and_well_formed(evaluated: Path) -> None:
    """And it says what scores do not mean."""
    text = (evaluated / "index.html").read_text()
    root = ElementTree.fromstring(text)
    tags = {element.tag for element in root.iter()}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "image", "use", "a"})
    assert not any("href" in name or "src" in name or name.startswith("on") for e in root.iter() for name in e.attrib)
    assert not re.search(r"https?:|url\(|@import|//", text.replace("<!DOCTYPE html>", "").replace(str(evaluated), ""))
    assert len(list(root.iter("svg"))) == 3 + 2 + 2 + 1 + 1  # scatters, confusions, reliability, slices, differences
    for words in ("What the scores do not mean", "Weak labels", "Few speakers", "Against worse", "How to read"):
        assert words in text


def test_text_of_others_is_text_on_the_page(manifest: Path, tmp_path: Path) -> None:
    result = evaluate("default", str(manifest), split="odd", out=str(tmp_path), num_bootstrap=100, max_unreadable=1)
    assert [Path(uri).name for uri in result["unreadable"]] == ["broken.wav"]
    evaluation = read(tmp_path)
    assert (evaluation["clips"]["listed"], evaluation["clips"]["evaluated"]) == (3, 2)
    assert "broken.wav" in evaluation["clips"]["unreadable"][0]["error"]
    text = (tmp_path / "index.html").read_text()
    ElementTree.fromstring(text)
    assert "<b> & co" not in text
    assert "&lt;b&gt; &amp; co" in text
    assert "broken.wav" in text


def test_an_unreadable_clip_is_refused_by_default(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(BadClip, match=r"broken\.wav"):
        evaluate("default", str(manifest), split="odd", out=str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "holds NaN"), (0.0, "predicts the same valence")])
def test_a_broken_model_is_refused(manifest: Path, tmp_path: Path, value: float, message: str) -> None:
    model = changed_model(tmp_path / "model", lambda linear: linear.weight.fill_(value))
    with pytest.raises(UsageError, match=message):
        evaluate(str(model), str(manifest), split="test", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_split_that_is_not_there_is_refused_naming_those_that_are(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"split 'dev' has 0 clips.*it has odd \(3\), test \(40\)"):
        evaluate("default", str(manifest), split="dev", out=str(tmp_path))


def test_results_never_land_on_a_model(manifest: Path, worse: Path) -> None:
    with pytest.raises(UsageError, match="holds a model"):
        evaluate("default", str(manifest), split="test", out=str(worse))


def test_a_dry_run_counts_and_writes_nothing(manifest: Path, tmp_path: Path) -> None:
    result = evaluate("default", str(manifest), split="test", out=str(tmp_path / "x"), dry_run=True)
    assert (result["clips"], result["weak"], result["missing"]) == (NUM_CLIPS, NUM_CLIPS, [])
    assert result["audio_s"] > 60
    assert not (tmp_path / "x").exists()


def test_a_dimension_that_nobody_rated_is_null_on_the_page_too(shared_data: Path, tmp_path: Path) -> None:
    manifest = str(shared_data / "emotion" / "manifest.csv")
    result = evaluate("default", manifest, split="rated", out=str(tmp_path), num_bootstrap=100)
    assert result["ccc"]["dominance"]["value"] is None
    assert result["ccc"]["arousal"]["value"] > 0.3
    assert result["weak"] == 0
    text = (tmp_path / "index.html").read_text()
    ElementTree.fromstring(text)
    assert "nobody rated it on these clips" in text
    assert "Weak labels" not in text


def test_a_model_of_a_category_and_a_toy_is_evaluated_by_the_ordinary_command(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers no VAD: what is absent is null with a reason, on the page, in the table and on the card as well."""
    monkeypatch.setitem(Task.KINDS, "loudness", LoudnessTask)
    words = ("anger", "happiness", "sadness", "fear")
    labels: dict[str, Task] = {"category": CategoryTask(words=words), "loudness": LoudnessTask(radius_90=4.0)}
    model = model_of(tmp_path / "toy", labels)
    out = tmp_path / "out"
    result = evaluate(str(model), str(manifest), split="test", out=str(out), against="default", num_bootstrap=100)
    assert list(result["uar"]) == ["category"]
    assert result["classes"] == {"category": "category"}
    assert result["ccc"]["valence"]["reason"] == "the model does not answer it"
    assert result["ccc"]["loudness"]["value"] is not None
    assert result["weak"] == NUM_CLIPS  # the other model answers what has weak targets
    evaluation = read(out)
    assert evaluation["comparison"] == {}
    assert {**result["against"], "model": ""} == {"model": "", "ccc": {}, "uar": {}}
    assert evaluation["model"]["vad_radius_90"] is None
    assert evaluation["model"]["loudness_radius_90"] == 4.0
    assert evaluation["overall"]["dimensions"]["loudness"]["unrated"] == 1
    assert evaluation["against_overall"]["figures"]["ccc"]["valence"]["value"] is not None
    text = (out / "index.html").read_text()
    ElementTree.fromstring(text)
    assert "The model does not answer valence, arousal, dominance." in text
    table = pq.read_table(out / "predictions.parquet")
    assert table["valence"].null_count == NUM_CLIPS
    assert table["loudness"].null_count == 0
    assert set(table["category_head"].to_pylist()) <= set(words)
    assert pq.read_table(out / "predictions_against.parquet")["valence"].null_count == 0
    card = model_card(load_checkpoint(model), tmp_path / "no card", str(out / "evaluation.json"))
    assert "|  | loudness |" in card
    assert "Categories, as named by each way that the checkpoint offers:" in card
    assert "It does not answer valence, arousal, dominance: those columns are null." in card.replace("\n", " ")


def test_weak_labels_are_no_matter_for_a_model_of_categories(manifest: Path, tmp_path: Path) -> None:
    model = model_of(tmp_path / "words", {"category": CategoryTask(words=("anger", "happiness"))})
    result = evaluate(str(model), str(manifest), split="test", out=str(tmp_path / "out"), num_bootstrap=100)
    assert result["weak"] == 0
    assert "Weak labels" not in (tmp_path / "out" / "index.html").read_text()
    card = model_card(load_checkpoint(model), tmp_path / "no card", str(tmp_path / "out" / "evaluation.json"))
    assert "Slices, UAR:\n\n|  | clips | speakers | category |" in card
    assert "of the targets are means" not in card
