import pickle
from typing import get_args

import pytest

from emosphere.errors import (
    ERROR_CODES,
    RETRIED_CODES,
    BadCheckpoint,
    BadRecording,
    EmosphereError,
    ErrorCode,
    MachineError,
    UsageError,
    Verdict,
)


def test_the_list_of_codes_is_the_one_users_were_promised() -> None:
    permanent = "EMPTY UNSUPPORTED CORRUPT TRUNCATED NO_AUDIO TOO_SHORT TOO_LONG NON_FINITE REFUSED CRASHED"
    retried = "NOT_FOUND ACCESS_DENIED ARCHIVED FETCH_FAILED TIMED_OUT INTERNAL"
    assert set(ERROR_CODES) == {*permanent.split(), *retried.split()}
    assert set(retried.split()) == RETRIED_CODES


@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_a_bad_recording_crosses_a_process_with_code_and_sentence(code: ErrorCode) -> None:
    error = BadRecording(code, "a.wav: nothing in it.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is BadRecording
    assert (again.code, str(again)) == (code, "a.wav: nothing in it.")


def test_a_verdict_brings_what_was_found_across_a_process_too() -> None:
    again = pickle.loads(pickle.dumps(Verdict("2 files are broken.", {"broken": 2})))
    assert (str(again), again.result, again.exit_code) == ("2 files are broken.", {"broken": 2}, 1)


@pytest.mark.parametrize("kind", [BadCheckpoint, BadRecording, MachineError, UsageError, Verdict])
def test_one_clause_catches_all_that_we_report_on_purpose(kind: type[Exception]) -> None:
    assert issubclass(kind, EmosphereError)


def test_a_foreign_checkpoint_is_a_wrong_argument_and_a_broken_machine_is_not() -> None:
    assert issubclass(BadCheckpoint, UsageError)
    assert not issubclass(MachineError, UsageError)
    assert not issubclass(BadRecording, UsageError)
