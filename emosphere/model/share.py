"""A model folder onto the Hugging Face hub, with its licence and its card or not at all."""

import re
from pathlib import Path
from typing import Any, Final

from emosphere.errors import MachineError, UsageError
from emosphere.model.checkpoint import Checkpoint
from emosphere.model.description import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from emosphere.model.export import ONNX_NAME
from emosphere.model.find import BESIDES
from emosphere.tasks.rated import RatedTask

FILES: Final = (CONFIG_NAME, WEIGHTS_NAME, *BESIDES)
"""What is sent of a model folder, where it is there; the card is sent with a head of its own."""
SPDX: Final = re.compile(r"[A-Za-z][\w.+-]*")
"""A licence that has a name of one word; ``none published ...`` and ``unknown: ...`` are no licences to share under."""


def push(
    checkpoint: Checkpoint,
    folder: Path,
    repository: str,
    *,
    card: str,
    graph: Path | None,
    public: bool,
    api: Any = None,
) -> str:
    """Send the model in ``folder``, and the ``graph`` if any, to ``repository`` (ORG/NAME) in one commit; its address.

    A new repository is private unless ``public``. ``api`` is a ``huggingface_hub.HfApi``. Raises UsageError without a
    licence, a card, a token or the right to write, or when the repository is public and ``public`` was not said;
    MachineError when the hub cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    # Of whichever client this version of the hub's package uses.
    from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]

    card = card_to_share(checkpoint, card)
    api = api or huggingface_hub.HfApi()
    add = huggingface_hub.CommitOperationAdd
    files = {name: folder / name for name in FILES if (folder / name).is_file()}
    files |= {path.name: path for path in sorted(graph.parent.glob(f"{ONNX_NAME}*"))} if graph else {}
    try:
        address = str(api.create_repo(repository, private=not public, exist_ok=True))
        if not public and not api.repo_info(repository).private:
            raise UsageError(f"{repository} is public already; say --public if the model may be.")
        api.create_commit(
            repository,
            operations=[add(CARD_NAME, card.encode()), *(add(name, str(file)) for name, file in files.items())],
            commit_message=f"{checkpoint.name} {checkpoint.digest}",
        )
    except HFValidationError as error:
        raise UsageError(f"--push {repository}: not a name of the form ORG/NAME ({error}).") from error
    except LocalTokenNotFoundError as error:
        raise UsageError("--push needs your token of the hub: run 'hf auth login', or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403, 404):
            raise UsageError(
                f"The hub refused to write {repository} ({status}): run 'hf auth login' with a token that may write "
                "there, or set HF_TOKEN."
            ) from error
        raise MachineError(f"The hub failed on {repository} ({status}); the same command tries again.") from error
    except (TransportError, OSError) as error:
        raise MachineError(
            f"The hub cannot be reached ({type(error).__name__}); the same command tries again."
        ) from error
    return address


def card_to_share(checkpoint: Checkpoint, card: str) -> str:
    """``card`` under a head that the hub reads. Raises UsageError without a card or a licence."""
    if not card.strip():
        raise UsageError(
            f"{checkpoint.name} has no {CARD_NAME}; a model is shared with its card: what it hears, figures, limits, "
            "licence. An evaluation.json of 'emosphere evaluate' makes one: --evaluation FILE."
        )
    if not SPDX.fullmatch(checkpoint.licence) or checkpoint.licence.lower() in ("none", "unknown", "tbd", "todo"):
        raise UsageError(
            f"{CONFIG_NAME}: licence={checkpoint.licence!r} is no licence to share under; give an SPDX "
            "name such as CC-BY-NC-SA-4.0, which the data of the training must allow."
        )
    if card.startswith("---\n"):
        return card
    rated = [task for task in checkpoint.config.tasks.values() if isinstance(task, RatedTask)]
    dims = dict.fromkeys(dim for task in rated for dim in task.dims)
    tags = "".join(f"- {tag}\n" for tag in ("emosphere", "speech-emotion-recognition", *dims))
    return (
        f"---\nlicense: {checkpoint.licence.lower()}\nlibrary_name: emosphere\n"
        f"pipeline_tag: audio-classification\ntags:\n{tags}---\n\n{card}"
    )
