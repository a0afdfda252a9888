"""What a store answers becomes a finding."""

import datetime
import email.utils
from types import SimpleNamespace
from typing import Any

import pytest

from emosphere.store import Location, locate
from pipelines.doctor.command import _clock, _conditional


def at_a_store_whose_clock_is(seconds: float) -> Any:
    when = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(seconds=seconds)
    headers = {"ResponseMetadata": {"HTTPHeaders": {"date": email.utils.format_datetime(when)}}}
    return Location(SimpleNamespace(call_s3=lambda *args, **kwargs: headers), "bucket/out")


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (200, "warn"), (-200, "warn"), (1000, "fail")])
def test_a_clock_that_is_off_is_told_before_requests_are_refused(seconds: float, state: str) -> None:
    assert _clock(at_a_store_whose_clock_is(seconds)).state == state


def test_a_store_that_ignores_conditions_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = locate(str(tmp_path))
    assert _conditional(out).state == "ok"

    def overwrite(self: Location, data: bytes) -> bool:
        self.write_bytes(data)
        return True

    monkeypatch.setattr(Location, "create_bytes", overwrite)
    assert _conditional(out).state == "fail"
    assert not list((tmp_path / "_emosphere").iterdir())
