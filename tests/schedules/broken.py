"""A plugin of pytest, by which every test runs with one fence broken: -p tests.schedules.broken --broken NAME"""

import pytest

from tests.schedules.breaks import BREAKS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broken", choices=list(BREAKS), required=True)


@pytest.fixture(autouse=True)
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    BREAKS[request.config.getoption("broken")](monkeypatch)
