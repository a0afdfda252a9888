"""What a store answers becomes a finding."""

import datetime
import email.utils
from types import SimpleNamespace
from typing import Any

import pytest

from emosphere.store import Location
from pipelines.doctor.command import Finding, _clock, _encryption, _out
from pipelines.score.settings import ScoreSettings


def at_a_store_whose_clock_is(seconds: float) -> Any:
    when = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(seconds=seconds)
    headers = {"ResponseMetadata": {"HTTPHeaders": {"date": email.utils.format_datetime(when)}}}
    return Location(SimpleNamespace(call_s3=lambda *args, **kwargs: headers), "bucket/out")


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (200, "warn"), (-200, "warn"), (1000, "fail")])
def test_a_clock_that_is_off_is_told_before_requests_are_refused(seconds: float, state: str) -> None:
    assert _clock(at_a_store_whose_clock_is(seconds)).state == state


def test_a_store_that_ignores_conditions_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def about_locks() -> Finding:
        return next(
            finding for finding in _out(str(tmp_path / "out"), ScoreSettings()) if finding.check == "file locks"
        )

    assert about_locks().state == "ok"

    def overwrite(self: Location, data: bytes) -> bool:
        self.write_bytes(data)
        return True

    monkeypatch.setattr(Location, "create_bytes", overwrite)
    assert about_locks().state == "fail"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "answer",
    [{"ServerSideEncryptionConfiguration": {}}, {"ServerSideEncryptionConfiguration": {"Rules": []}}, {}],
)
def test_a_bucket_without_default_encryption_is_told_in_words(answer: dict[str, Any]) -> None:
    finding = _encryption(Location(SimpleNamespace(call_s3=lambda *args, **kwargs: answer), "bucket/out"))
    assert (finding.state, "there is none" in finding.details) == ("warn", True)


def test_a_default_encryption_is_named() -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    answer = {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}
    finding = _encryption(Location(SimpleNamespace(call_s3=lambda *args, **kwargs: answer), "bucket/out"))
    assert (finding.state, finding.details) == ("ok", "bucket default: aws:kms")
