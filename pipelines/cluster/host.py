"""Facts about the machine that a run's row keeps."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

DRIVERS: Final = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""What stands there wherever torch could find a GPU: of NVIDIA, in Windows' Linux, of AMD."""
CLUSTER_VARIABLES: Final = ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR")
"""What names a cluster in the environment: by hand, and under ``ray job submit``."""


def host_facts() -> dict[str, Any]:
    """Versions and hardware, JSON-ready. The host's name is left out: it says nothing about the rows."""
    facts: dict[str, Any] = {
        name: _version(name) for name in ("emosphere", "ray", "torch", "torchaudio", "transformers")
    }
    return facts | {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "accelerator": _accelerator(),
    }


def num_gpus() -> int:
    """GPUs that torch can use in this process."""
    if not any(map(os.path.exists, DRIVERS)):
        return 0  # without the seconds that torch takes to import

    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _accelerator() -> str | None:
    if not num_gpus():
        return None

    import torch

    return torch.cuda.get_device_name()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
