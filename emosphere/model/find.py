"""From what a user calls a model to a local folder that holds it."""

import tempfile
from pathlib import Path

from emosphere.errors import BadCheckpoint
from emosphere.model.checkpoint import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from emosphere.store import ABSENT, locate

BUNDLED = Path(__file__).parent / "default"


def find_model(model: str) -> Path:
    """Folder of ``default``, a path, an fsspec URL (copied to scratch) or ``hf:ORG/NAME``.

    Raises BadCheckpoint when nothing is there, saying how to get it.
    """
    if model == "default":
        return BUNDLED
    if model.startswith("hf:"):
        return _from_hub(model.removeprefix("hf:"))
    location = locate(model)
    if location.is_local:
        if not Path(location.path).is_dir():
            raise BadCheckpoint(
                f"{model}: no such model folder; --model takes 'default', a folder, a URL of one, or hf:ORG/NAME."
            )
        return Path(location.path)
    # The digest is taken over the bytes, so where the copy lies does not matter.
    copy = Path(tempfile.mkdtemp(prefix="emosphere-model-"))
    for name in (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME):
        try:
            (copy / name).write_bytes(location.child(name).read_bytes())
        except ABSENT:
            if name != CARD_NAME:
                raise BadCheckpoint(f"{location.uri}: no {name} there; a model is a folder that holds it.") from None
    return copy


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    files = [CONFIG_NAME, WEIGHTS_NAME, CARD_NAME]
    try:
        return Path(snapshot_download(name, allow_patterns=files))
    except HFValidationError as error:
        raise BadCheckpoint(f"hf:{name}: not a name of the form hf:ORG/NAME ({error}).") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BadCheckpoint(
            f"hf:{name}: neither in the local cache nor to be had from the hub ({type(error).__name__}). On a machine "
            f"with internet run 'hf download {name} --include {' '.join(files)} --local-dir FOLDER', copy FOLDER here "
            "and give it as --model FOLDER."
        ) from error
