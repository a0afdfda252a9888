"""From what a user calls a model to a local folder that holds it."""

import contextlib
import tempfile
from pathlib import Path
from typing import Final

from emosphere.errors import BadCheckpoint
from emosphere.model.adopt.audeering import PREPROCESSOR_NAME
from emosphere.model.adopt.cache import SOURCE_FILES, adopt
from emosphere.model.adopt.tensors import PICKLED_NAME
from emosphere.model.checkpoint import (
    AT_WEIGHT_ZERO,
    CARD_NAME,
    CONFIG_NAME,
    EVALUATION_NAME,
    WEIGHTS_NAME,
)
from emosphere.store import ABSENT, locate

BESIDES: Final = (EVALUATION_NAME, *(f"{AT_WEIGHT_ZERO}/{name}" for name in (CONFIG_NAME, WEIGHTS_NAME)))
"""What a model's folder may hold that scoring does without."""
BUNDLED = Path(__file__).parent / "default"


def find_model(model: str, *, whole: bool = False) -> Path:
    """Folder of ``default``, a path, an fsspec URL (copied to scratch) or ``hf:ORG/NAME``.

    ``whole``: from elsewhere, fetch also the network as it was when its region loss came to rest and the evaluation,
    which scoring does without. What others published in a layout that ``emosphere.model.adopt`` knows is converted
    first, once. Raises BadCheckpoint when nothing is there, saying how to get it.
    """
    if model == "default":
        return BUNDLED
    if model.startswith("hf:"):
        return adopt(_from_hub(model.removeprefix("hf:"), whole=whole))
    location = locate(model)
    if location.is_local:
        if not Path(location.path).is_dir():
            raise BadCheckpoint(
                f"{model}: no such model folder; --model takes 'default', a folder, a URL of one, or hf:ORG/NAME."
            )
        return adopt(Path(location.path))
    # The digest is taken over the bytes, so where the copy lies does not matter.
    copy = Path(tempfile.mkdtemp(prefix="emosphere-model-"))
    for name in dict.fromkeys((CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, *SOURCE_FILES, *(BESIDES if whole else ()))):
        with contextlib.suppress(*ABSENT):
            content = location.child(*name.split("/")).read_bytes()
            (copy / name).parent.mkdir(exist_ok=True)
            (copy / name).write_bytes(content)
    folder = adopt(copy)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise BadCheckpoint(f"{location.uri}: no {name} there; a model is a folder that holds it.")
    return folder


def _from_hub(name: str, *, whole: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    files = [CONFIG_NAME, PREPROCESSOR_NAME, CARD_NAME, WEIGHTS_NAME]
    try:
        folder = Path(snapshot_download(name, allow_patterns=[*files, *(BESIDES if whole else ())]))
        if not (folder / WEIGHTS_NAME).is_file():
            folder = Path(snapshot_download(name, allow_patterns=[*files, PICKLED_NAME]))
        return folder
    except HFValidationError as error:
        raise BadCheckpoint(f"hf:{name}: not a name of the form hf:ORG/NAME ({error}).") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        include = " ".join(f"--include {file}" for file in files)
        raise BadCheckpoint(
            f"hf:{name}: neither in the local cache nor to be had from the hub ({type(error).__name__}). Wanted: "
            f"{CONFIG_NAME} and {WEIGHTS_NAME} (else {PICKLED_NAME}), with {CARD_NAME} and, where the model has it, "
            f"{PREPROCESSOR_NAME}. On a machine with internet run 'hf download {name} {include} --local-dir FOLDER', "
            "copy FOLDER here and give it as --model FOLDER."
        ) from error
