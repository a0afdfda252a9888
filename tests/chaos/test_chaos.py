"""The short form of the chaos table: an actor dies and answers are cut, on several nodes and a real S3 server.

The whole table takes half an hour: `make chaos`.
"""

import pytest

from tests.chaos.__main__ import MOST_REPEATED, a_trial, faults

SHORT = [("actor killed", "50%"), ("truncated x 10%", "throughout")]
"""A killed driver is test_resume's."""


@pytest.mark.ray
def test_nothing_is_lost_and_nothing_stands_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH",
                 "AWS_DEFAULT_REGION", "TMPDIR"):  # fmt: skip
        monkeypatch.setenv(name, "")  # put back as it was when the test is over
        monkeypatch.delenv(name)
    with a_trial() as trial:
        outcomes = [trial.run(*found) for found in faults(trial) if found[:2] in SHORT]
    assert len(outcomes) == len(SHORT)
    for outcome in outcomes:
        assert (outcome.lost, outcome.twice) == (0, 0), outcome
        assert outcome.repeated_beyond < MOST_REPEATED, outcome
