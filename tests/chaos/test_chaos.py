"""The short form of the chaos table: an actor dies while answers are cut, on several nodes and a real S3 server.

The whole table takes half an hour: `make chaos`.
"""

import subprocess

import pytest

from tests.chaos.__main__ import MOST_REPEATED, a_trial, spoil
from tests.chaos.nodes import actors, kill


@pytest.mark.ray
def test_nothing_is_lost_and_nothing_stands_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed driver is test_resume's."""
    for name in ("RAY_AUTH_MODE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH",
                 "AWS_DEFAULT_REGION", "TMPDIR"):  # fmt: skip
        monkeypatch.setenv(name, "")  # put back as it was when the test is over
        monkeypatch.delenv(name)
    with a_trial() as trial:

        def strike(process: "subprocess.Popen[str]") -> None:
            spoil(trial, "truncated", 0.1)
            trial.wait_for(0.5, process)
            kill(actors()[0])

        outcome = trial.run("actor killed, truncated x 10%", "50%", strike)
    assert (outcome.lost, outcome.twice) == (0, 0), outcome
    assert outcome.repeated_beyond < MOST_REPEATED, outcome
