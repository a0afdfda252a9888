"""Ceph's radosgw with versioning on overwrites what it should create once: score and erase refuse, doctor says so."""

from pathlib import Path
from typing import Any

import pytest

from emosphere.errors import MachineError
from emosphere.store import locate
from pipelines.doctor.command import doctor
from pipelines.erase.command import erase
from pipelines.erase.target import Target
from pipelines.output.offers import check_offers
from pipelines.score.command import score
from pipelines.score.request import ScoreRequest

REFUSED = "it overwrote an object that it was told to create only if absent.*nothing was written"


def test_the_probe_refuses_and_leaves_nothing(s3: Any) -> None:
    out = locate("s3://tables/probed")
    with pytest.raises(MachineError, match=REFUSED):
        check_offers(out)
    assert out.files() == []


def test_score_refuses_before_its_first_write(s3: Any, archive: Path) -> None:
    with pytest.raises(MachineError, match=REFUSED):
        score(ScoreRequest(archives=(str(archive),), out="s3://tables/scored"))
    assert locate("s3://tables/scored").files() == []


def test_erase_refuses_and_every_byte_stays(s3: Any, home: Path) -> None:
    s3.put(str(home / "out"), "tables/kept", recursive=True)
    before = {path: s3.cat_file(path) for path in s3.find("tables/kept")}
    with pytest.raises(MachineError, match=REFUSED):
        erase("s3://tables/kept", Target(uri="s3://calls/a.wav"))
    assert {path: s3.cat_file(path) for path in s3.find("tables/kept")} == before


def test_doctor_names_what_the_store_did(s3: Any) -> None:
    found = {finding.check: finding for finding in doctor(None, "s3://tables/looked-at")}
    assert found["conditional writes"].state == "fail"
    for words in ("only if absent", "answers 412", "refuse to write there"):
        assert words in found["conditional writes"].details
    assert found["encryption"].details == (
        "bucket 'tables' shows no default encryption (the store answered that there is none)"
    )


def test_a_conditional_write_ends_in_words(s3: Any) -> None:
    """It spun for ever."""
    location = locate("s3://tables/object")
    location.write_bytes(b"one")
    with pytest.raises(MachineError, match="answers 412 to a PUT whose If-Match is the ETag that it gave"):
        location.rewrite(lambda: b"two", lambda: None)
