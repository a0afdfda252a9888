"""The wheel's weights are those that torch reads from it, and nothing of the archive is run."""

import io
import pickle
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from emosphere.speech.activity_weights import ARCHIVE, _Tree, activity_weights


def test_they_are_what_torch_reads():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        wanted = torch.jit.load(str(Path(find_spec("silero_vad").origin).parent / ARCHIVE)).state_dict()
    weights = activity_weights()
    # torch leaves out what the module keeps between calls, which is empty.
    assert {name for name, tensor in weights.items() if tensor.numel()} == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(weights[name], tensor), name
        assert weights[name].data_ptr() % 64 == 0


def test_another_package_s_function_is_not_called():
    harmful = pickle.dumps(io.BytesIO)
    with (
        zipfile.ZipFile(io.BytesIO(), "w") as archive,
        pytest.raises(pickle.UnpicklingError, match=r"holds _io.BytesIO"),
    ):
        _Tree(io.BytesIO(harmful), archive, "").load()
