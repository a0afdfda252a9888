"""What stores and their libraries raise becomes words; what our own mistakes raise stays what it is."""

import types
from typing import Any

import pytest

from emosphere.errors import MachineError
from emosphere.store import explained


class Refused(Exception):
    def __init__(self, status: int, code: str, operation: str, message: str | None) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code, "Message": message}}
        self.operation_name = operation


def raise_from(error: Exception, cause: Exception) -> None:
    raise error from cause


def library(source: str) -> Any:
    """A function that belongs to s3fs."""
    module = types.ModuleType("s3fs.core")
    exec(source, module.__dict__)
    return module.__dict__["call"]


STUMBLES = """
def call(error, cause):
    try:
        raise error from cause
    except OSError as ex:
        if "pre-conditions" in ex.args[1]:
            raise
"""


def test_a_library_that_stumbles_over_an_answer_without_words_is_explained() -> None:
    call = library(STUMBLES)
    words = r"Could not read it: the store answered PreconditionFailed \(status 412\)"
    with pytest.raises(MachineError, match=words), explained("read it"):
        call(OSError(22, None), Refused(412, "PreconditionFailed", "GetObject", None))


def test_an_answer_that_lacks_what_the_library_looks_for_is_explained() -> None:
    call = library("def call(answer): return answer['ContentLength']")
    with pytest.raises(MachineError, match="Could not read it: 'ContentLength'"), explained("read it"):
        call({})


def test_our_own_mistakes_stay_what_they_are() -> None:
    with pytest.raises(TypeError), explained("read it"):
        library("def call(path): return path")()
    with pytest.raises(TypeError), explained("read it"):
        library("def call(path): return len(path)")(None)
    with pytest.raises(TypeError), explained("read it"):
        try:
            raise OSError(22, None)
        except OSError:
            len(None)
    with pytest.raises(KeyError), explained("read it"):
        {}["ours"]


def test_an_answer_without_words_is_told_by_its_code() -> None:
    words = r"^Could not write it: the store answered InvalidRequest \(status 400\)"
    with pytest.raises(MachineError, match=words), explained("write it"):
        raise_from(OSError(22, None), Refused(400, "InvalidRequest", "PutObject", None))


@pytest.mark.parametrize(("operation", "is_told"), [("HeadObject", True), ("GetObject", True), ("PutObject", False)])
def test_a_403_of_one_object_may_mean_that_nothing_is_there(operation: str, is_told: bool) -> None:
    words = r"^Access refused: could not look at it\. Check credentials"
    with pytest.raises(MachineError, match=words) as told, explained("look at it"):
        raise_from(PermissionError("Forbidden"), Refused(403, "403", operation, "Forbidden"))
    assert ("s3:prefix" in str(told.value)) == is_told


def test_a_refusal_of_the_disk_names_no_policy() -> None:
    with pytest.raises(MachineError) as told, explained("look at it"):
        raise PermissionError(13, "Permission denied")
    assert "s3:prefix" not in str(told.value)
