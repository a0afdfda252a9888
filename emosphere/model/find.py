"""From what a user calls a model to a local folder that holds it."""

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from emosphere.errors import BadCheckpoint
from emosphere.model.description import (
    AT_WEIGHT_ZERO,
    CARD_NAME,
    CONFIG_NAME,
    EVALUATION_NAME,
    WEIGHTS_NAME,
    is_in_our_format,
)
from emosphere.store import ABSENT, Location, locate

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
        return _adopted(_from_hub(model.removeprefix("hf:"), whole=whole))
    location = locate(model)
    if location.is_local:
        if not Path(location.path).is_dir():
            raise BadCheckpoint(
                f"{model}: no such model folder; --model takes 'default', a folder, a URL of one, or hf:ORG/NAME."
            )
        return _adopted(Path(location.path))
    # The digest is taken over the bytes, so where the copy lies does not matter.
    copy = Path(tempfile.mkdtemp(prefix="emosphere-model-"))
    _copy(location, copy, (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, *(BESIDES if whole else ())))
    if not is_in_our_format(copy):
        from emosphere.model.adopt.cache import SOURCE_FILES

        _copy(location, copy, SOURCE_FILES)
    folder = _adopted(copy)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise BadCheckpoint(f"{location.uri}: no {name} there; a model is a folder that holds it.")
    return folder


def _adopted(folder: Path) -> Path:
    """The folder in our format. What converts others imports torch, and is rarely wanted."""
    if is_in_our_format(folder):
        return folder
    from emosphere.model.adopt.cache import adopt

    return adopt(folder)


def _copy(location: Location, folder: Path, names: Iterable[str]) -> None:
    """Of ``names``, those that are there and not yet in ``folder``."""
    for name in names:
        if not (folder / name).exists():
            with contextlib.suppress(*ABSENT):
                content = location.child(*name.split("/")).read_bytes()
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content)


def _from_hub(name: str, *, whole: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    from emosphere.model.adopt.audeering import PREPROCESSOR_NAME
    from emosphere.model.adopt.tensors import PICKLED_NAME

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
