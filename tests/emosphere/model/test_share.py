"""What goes to the hub, and what never does: a stand-in for the hub's API keeps what it is sent."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from emosphere.errors import MachineError, UsageError
from emosphere.model.architecture import HeadConfig
from emosphere.model.checkpoint import Checkpoint, load_checkpoint
from emosphere.model.find import BUNDLED
from emosphere.model.share import push

CARD = (BUNDLED / "README.md").read_text(encoding="utf-8")


class Hub:
    """The three calls of ``HfApi`` that are used."""

    def __init__(self, *, is_public: bool = False, error: Exception | None = None) -> None:
        self.is_public, self.error = is_public, error
        self.asked: dict[str, Any] = {}
        self.sent: dict[str, Any] = {}

    def create_repo(self, repository: str, **arguments: Any) -> str:
        if self.error:
            raise self.error
        self.asked = arguments
        return f"https://hub.test/{repository}"

    def repo_info(self, repository: str) -> SimpleNamespace:
        return SimpleNamespace(private=not self.is_public and self.asked["private"])

    def create_commit(self, repository: str, operations: Any, commit_message: str) -> None:
        self.sent = {operation.path_in_repo: operation.path_or_fileobj for operation in operations}
        self.message = commit_message


@pytest.fixture
def model(tmp_path: Path) -> tuple[Checkpoint, Path]:
    folder = Path(shutil.copytree(BUNDLED, tmp_path / "model"))
    (folder / "training.json").write_text("{}")
    return load_checkpoint(folder), folder


def test_the_folder_goes_in_one_commit_and_stays_private(model: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    checkpoint, folder = model
    (tmp_path / "model.onnx").touch()
    (folder / "at_weight_zero").mkdir()
    for name in ("config.json", "model.safetensors", "README.md"):
        shutil.copy(folder / name, folder / "at_weight_zero")
    hub = Hub()
    assert (
        push(*model, "org/name", card=CARD, graph=tmp_path / "model.onnx", public=False, api=hub)
        == "https://hub.test/org/name"
    )
    assert hub.asked == {"private": True, "exist_ok": True}
    assert set(hub.sent) == {
        "README.md", "config.json", "model.safetensors", "evaluation.json", "model.onnx",
        "at_weight_zero/config.json", "at_weight_zero/model.safetensors",
    }  # fmt: skip
    assert hub.sent["config.json"] == str(folder / "config.json")
    assert checkpoint.digest in hub.message


def test_the_card_gets_a_head_that_the_hub_reads(model: tuple[Checkpoint, Path]) -> None:
    hub = Hub()
    push(*model, "org/name", card=CARD, graph=None, public=True, api=hub)
    assert hub.asked["private"] is False
    card = hub.sent["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-nc-sa-4.0\n")
    assert card.endswith(CARD)
    assert "\n- speech-emotion-recognition\n- valence\n- arousal\n- dominance\n---\n" in card


def test_a_model_is_not_found_by_dimensions_that_it_does_not_answer(model: tuple[Checkpoint, Path]) -> None:
    checkpoint, folder = model
    network = dataclasses.replace(checkpoint.config.network, heads={"category": HeadConfig()})
    config = dataclasses.replace(checkpoint.config, network=network, labels={})
    hub = Hub()
    push(
        dataclasses.replace(checkpoint, config=config), folder, "org/name", card=CARD, graph=None, public=False, api=hub
    )
    assert "\n- speech-emotion-recognition\n---\n" in hub.sent["README.md"].decode()


def test_a_head_that_is_there_is_left_alone(model: tuple[Checkpoint, Path]) -> None:
    hub, card = Hub(), "---\nlicense: mit\n---\n# Mine\n"
    push(*model, "org/name", card=card, graph=None, public=True, api=hub)
    assert hub.sent["README.md"] == card.encode()


@pytest.mark.parametrize("card", ["", " \n"])
def test_without_a_card_nothing_is_sent(model: tuple[Checkpoint, Path], card: str) -> None:
    hub = Hub()
    with pytest.raises(UsageError, match=r"emosphere-default has no README\.md; a model is shared with its card"):
        push(*model, "org/name", card=card, graph=None, public=False, api=hub)
    assert hub.asked == {}


@pytest.mark.parametrize("licence", ["", "none published (MSP-Podcast terms apply)", "unknown", "TODO"])
def test_without_a_licence_nothing_is_sent(model: tuple[Checkpoint, Path], licence: str) -> None:
    checkpoint = dataclasses.replace(model[0], config=dataclasses.replace(model[0].config, licence=licence))
    hub = Hub()
    with pytest.raises(UsageError, match="is no licence to share under"):
        push(checkpoint, model[1], "org/name", card=CARD, graph=None, public=False, api=hub)
    assert hub.asked == {}


def test_a_repository_that_is_public_already_takes_nothing_unasked(model: tuple[Checkpoint, Path]) -> None:
    hub = Hub(is_public=True)
    with pytest.raises(UsageError, match="org/name is public already; say --public"):
        push(*model, "org/name", card=CARD, graph=None, public=False, api=hub)
    assert hub.sent == {}


def answered(status: int) -> HfHubHTTPError:
    response: Any = SimpleNamespace(status_code=status, headers={}, request=None)
    return HfHubHTTPError("no", response=response)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (LocalTokenNotFoundError("no token"), UsageError, "needs your token of the hub: run 'hf auth login'"),
        (answered(401), UsageError, r"refused to write org/name \(401\)"),
        (answered(403), UsageError, r"refused to write org/name \(403\)"),
        (answered(503), MachineError, r"failed on org/name \(503\); the same command tries again"),
        (ConnectionError("offline"), MachineError, r"cannot be reached \(ConnectionError\)"),
        (errors.HTTPError("offline"), MachineError, r"cannot be reached \(HTTPError\)"),  # type: ignore[attr-defined]
    ],
)
def test_what_the_hub_refuses_is_said(
    model: tuple[Checkpoint, Path], error: Exception, raised: type[Exception], message: str
) -> None:
    with pytest.raises(raised, match=message):
        push(*model, "org/name", card=CARD, graph=None, public=False, api=Hub(error=error))


def test_a_name_that_is_none_is_refused(model: tuple[Checkpoint, Path]) -> None:
    with pytest.raises(UsageError, match="not a name of the form ORG/NAME"):
        push(*model, "a/b/c d", card=CARD, graph=None, public=False)
