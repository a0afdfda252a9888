"""Converted once, found by content, never half there."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from emosphere.errors import BadCheckpoint, MachineError
from emosphere.model.adopt import odyssey as layout
from emosphere.model.adopt.cache import adopt, cache_folder
from emosphere.model.architecture import PretrainedConfig
from emosphere.model.checkpoint import load_checkpoint
from emosphere.model.description import describe_checkpoint
from emosphere.model.find import BUNDLED


def test_our_own_folders_are_left_alone(own_cache: Path) -> None:
    assert adopt(BUNDLED) == BUNDLED
    assert not own_cache.exists()


def test_the_second_time_nothing_is_converted(odyssey: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = adopt(odyssey.folder)
    assert first.parent == own_cache
    monkeypatch.setattr(layout, "convert", None)
    assert adopt(odyssey.folder) == first
    assert adopt(Path(shutil.copytree(odyssey.folder, own_cache.parent / "elsewhere"))) == first


def test_a_change_of_any_source_file_is_converted_anew(odyssey: Any) -> None:
    first = adopt(odyssey.folder)
    odyssey.edit_config(mean=0.25)
    second = adopt(odyssey.folder)
    assert second != first
    encoder = load_checkpoint(second).config.network.streams["speech"]
    assert isinstance(encoder, PretrainedConfig)
    assert encoder.waveform_mean == 0.25


@pytest.mark.parametrize(("name", "value"), [("VERSION", "2"), ("SETTINGS", ("network", "name", "new"))])
def test_another_version_converts_anew(odyssey: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    first = adopt(odyssey.folder)
    monkeypatch.setattr(f"emosphere.model.adopt.cache.{name}", value)
    assert adopt(odyssey.folder) != first


def test_two_machines_convert_to_the_same_bytes(odyssey: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = describe_checkpoint(adopt(odyssey.folder)).digest
    monkeypatch.setenv("EMOSPHERE_CACHE", str(tmp_path / "other machine"))
    assert describe_checkpoint(adopt(odyssey.folder)).digest == first


def test_a_conversion_that_fails_leaves_nothing(odyssey: Any, own_cache: Path) -> None:
    odyssey.edit_weights(lambda tensors: tensors.pop("pool_model.attention"))
    with pytest.raises(BadCheckpoint):
        adopt(odyssey.folder)
    assert not own_cache.exists()


def test_whoever_comes_second_takes_what_the_first_one_kept(
    odyssey: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = adopt(odyssey.folder)
    marked = kept / "first"
    marked.touch()
    seen = iter([False])
    # The folder appears between the look and the rename.
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: next(seen, True) if path == kept else is_dir(path))
    assert adopt(odyssey.folder) == kept
    assert marked.exists()
    assert list(own_cache.iterdir()) == [kept]


def test_a_cache_that_cannot_be_written_is_the_machines_fault(
    odyssey: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMOSPHERE_CACHE", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="set EMOSPHERE_CACHE to another folder"):
        adopt(odyssey.folder)


def test_the_cache_is_in_the_users_home_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMOSPHERE_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "emosphere" / "adopted"
