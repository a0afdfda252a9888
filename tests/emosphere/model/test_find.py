"""From names to folders: the hub without a hub, URLs, and what is said when nothing is there."""

import shutil
from pathlib import Path
from typing import Any

import fsspec
import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from emosphere.errors import BadCheckpoint
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.find import BUNDLED, find_model


def test_a_model_of_the_hub_is_a_folder_of_its_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(BUNDLED))
    assert find_model("hf:ORG/NAME") == BUNDLED


def test_a_pickle_is_fetched_only_where_there_is_no_safetensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested: list[list[str]] = []

    def download(name: str, allow_patterns: list[str]) -> str:
        requested.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    find_model("hf:ORG/NAME")
    assert ["pytorch_model.bin" in patterns for patterns in requested] == [False, True]
    find_model("hf:ORG/NAME", whole=True)
    assert ["at_weight_zero/model.safetensors" in patterns for patterns in requested] == [False, False, True, False]


def test_without_a_hub_the_message_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, allow_patterns: list[str]) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(BadCheckpoint) as error:
        find_model("hf:3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes")
    text = str(error.value)
    for part in (
        "hf download 3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes --include config.json",
        "model.safetensors (else pytorch_model.bin)",
        "preprocessor_config.json",
        "--local-dir FOLDER",
        "--model FOLDER",
    ):
        assert part in text


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(BadCheckpoint, match="not a name of the form hf:ORG/NAME"):
        find_model("hf:a/b/c d")


def test_a_url_is_copied_and_refused_by_its_own_name() -> None:
    store: Any = fsspec.filesystem("memory")
    store.makedirs("/models/empty", exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        store.pipe(f"/models/whole/{name}", (BUNDLED / name).read_bytes())
    try:
        copy = find_model("memory://models/whole")
        assert load_checkpoint(copy).digest == load_checkpoint(BUNDLED).digest
        shutil.rmtree(copy)
        for name in ("config.json", "model.safetensors"):
            store.pipe(f"/models/whole/at_weight_zero/{name}", (BUNDLED / name).read_bytes())
        # An evaluation measures the earlier network too; scoring need not fetch it.
        copies = [find_model("memory://models/whole", whole=whole) for whole in (True, False)]
        assert [(copy / "at_weight_zero").is_dir() for copy in copies] == [True, False]
        assert load_checkpoint(copies[0] / "at_weight_zero").digest == load_checkpoint(BUNDLED).digest
        for copy in copies:
            shutil.rmtree(copy)
        with pytest.raises(BadCheckpoint, match=r"models/empty: no config.json there"):
            find_model("memory://models/empty")
    finally:
        store.rm("/models", recursive=True)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="no such model folder"):
        find_model(str(tmp_path / "none"))
