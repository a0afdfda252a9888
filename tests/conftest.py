"""What every test may ask for."""

import os
import platform
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Shapes in the signatures of pure tensor functions hold while tests run; in production they cost nothing.
install_import_hook(["emosphere.geometry", "emosphere.losses", "emosphere.metrics"], "beartype.beartype")

# A loaded machine is slow, not wrong.
settings.register_profile("house", settings.default, deadline=None)
settings.load_profile("house")

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
LIMITS = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
"""Variables by which torch, oneDNN and MKL are told to use fewer instructions than the processor has."""


def pytest_report_header() -> str:
    """What decides in which order sums are taken, and so the last bits of a result."""
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    return (
        f"cpu: {_processor()}, capability {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} torch threads (1 in tests), limits: {' '.join(limits) or 'none'}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray come first: they take longest, and of what `make test` shares out by files, short ones in
    the end leave no process without work.
    """
    on_ray = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in on_ray)


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real speech and real broken files; its README says whose and under which licence."""
    if not SHARED_DATA.is_dir():
        pytest.fail(
            f"Test data is missing: put the project's shared folder beside the checkout, so that "
            f"../{SHARED_DATA.relative_to(ROOT.parent)} exists (see CONTRIBUTING.md)."
        )
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Threads of one test must not fight those of Ray's actors; sums also keep their order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def own_ray() -> Iterator[None]:
    """Actors that a test left behind hold CPUs for which the tests of the next file would wait for ever."""
    yield
    _stop_ray()


@pytest.fixture(autouse=True)
def no_idle_ray(request: pytest.FixtureRequest) -> None:
    """A local Ray's daemons take half a core for as long as they live: the next test that asks for none ends it."""
    if "ray" not in request.keywords:
        _stop_ray()


def _stop_ray() -> None:
    if cluster := sys.modules.get("pipelines.cluster.ray_cluster"):
        cluster.disconnect()


@pytest.fixture(autouse=True)
def same_seed() -> None:
    """Every test starts from the same dice."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
