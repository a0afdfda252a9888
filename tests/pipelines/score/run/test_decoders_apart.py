"""Decoders apart from the model: the same rows, a bounded lead, and a machine that is lost costs time only."""

import contextlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import soundfile

from emosphere.errors import MachineError
from emosphere.store import locate
from pipelines.archive.seal import UNSEALED
from pipelines.cluster.ray_cluster import connect
from pipelines.cluster.resources import Resources
from pipelines.output.ledger import Ledger
from pipelines.score.command import score
from pipelines.score.request import ScoreRequest
from pipelines.score.run.actor import TRIES
from pipelines.score.run.decoders import QUEUED_CELLS, DecodersLost
from pipelines.score.run.decoders_apart import DecodersApart, PartApart, _DecodingActor
from pipelines.score.settings import PlanSettings, ScoreSettings
from pipelines.score.unit import units_of
from tests.pipelines.score.run.running import POOL, planned, staged

pytestmark = pytest.mark.ray
APART = replace(POOL, apart=True)


@pytest.fixture(autouse=True)
def cluster():
    connect()


def without_times(rows: dict[str, dict]) -> dict[str, dict]:
    return {name: {**row, "scored_at": None} for name, row in rows.items()}


@pytest.mark.parametrize("losses", [1, 1000])
def test_lost_decoders_cost_no_rows(archive, tmp_path, monkeypatch, losses):
    """A part whose decoders are lost begins anew, and stages the rows of decoders beside the model; not for ever."""
    wanted = without_times(staged(archive, tmp_path / "beside"))
    real, begun, lost = PartApart.events, [], []

    def losing(self):
        begun.append(self)
        for event in real(self):
            yield event
            if len(lost) < losses:
                lost.append(self)
                ray.kill(self._decoders._actor)
                time.sleep(1)

    monkeypatch.setattr(PartApart, "events", losing)
    if losses > TRIES:
        with pytest.raises(MachineError, match="machine that decoded was lost"):
            staged(archive, tmp_path / "apart", pool=APART)
        return
    assert without_times(staged(archive, tmp_path / "apart", pool=APART)) == wanted
    num_parts = len(list((tmp_path / "apart").rglob("staging/part-*.parquet")))
    assert len(begun) == num_parts + losses


def test_decoders_stay_a_bounded_time_ahead_of_the_model(tmp_path, voice):
    """As far as the decoder has read in the file: a queue of its own, and one in the object store."""
    minutes = 60
    path = tmp_path / "archive/long.flac"
    path.parent.mkdir()
    soundfile.write(path, np.tile(voice[: 16_000 * 60], minutes), 16_000)
    out = locate(str(tmp_path / "out"))
    settings = ScoreSettings(plan=PlanSettings(unit_bytes=1 << 30, part_bytes=1 << 30))
    header = planned(path.parent, out, settings)
    decoders = DecodersApart(1, settings, UNSEALED, frozenset())
    messages = decoders.messages(units_of(Ledger(out).plan_part(header, 0)))
    ray.get(next(messages))
    places = [0, 1]
    while places[-1] != places[-2]:  # until it waits
        time.sleep(2)
        places.append(place_in(path))
    read = minutes * places[-1] / path.stat().st_size
    assert QUEUED_CELLS <= read <= 2 * QUEUED_CELLS + 6
    assert sum(1 for _ in messages) == minutes  # the first is taken, and the end is one more
    decoders.close()


def place_in(path: Path) -> int:
    """How far into the file any process of this machine has read."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == str(path):
                return int((link.parents[1] / "fdinfo" / link.name).read_text().split()[1])
    raise AssertionError(f"nobody reads {path}")


def test_a_broken_machine_says_so_in_our_words(archive, tmp_path, monkeypatch):
    out, settings = locate(str(tmp_path / "out")), ScoreSettings()
    header = planned(archive, out, settings)
    units = units_of(Ledger(out).plan_part(header, 0))
    decoders = DecodersApart(1, settings, UNSEALED, frozenset())
    part = PartApart(units, decoders)
    monkeypatch.setattr(decoders, "messages", lambda units: iter([ray.put("No space left.")]))
    with pytest.raises(MachineError, match="No space left") as raised:
        list(part.events())
    assert not isinstance(raised.value, DecodersLost)


def test_a_machine_without_room_for_scratch_says_so(monkeypatch):
    def no_room(*arguments):
        raise MachineError("No scratch folder could be made.")

    monkeypatch.setattr("pipelines.score.run.decoders_apart.Decoders", no_room)
    actor = _DecodingActor(1, ScoreSettings(), UNSEALED, frozenset())
    assert list(actor.decode([])) == ["No scratch folder could be made."]
    actor.close()


def test_what_was_fetched_is_wiped_when_the_decoders_end(archive, tmp_path):
    shutil.make_archive(str(tmp_path / "calls"), "zip", archive)
    decoders = DecodersApart(1, ScoreSettings(), UNSEALED, frozenset())
    header = planned(tmp_path / "calls.zip", locate(str(tmp_path / "out")), ScoreSettings())
    units = units_of(Ledger(locate(str(tmp_path / "out"))).plan_part(header, 0))
    list(decoders.decode(units).events())
    folders = ray.get(
        decoders._actor.__ray_call__.remote(lambda it: [one._folder.path for one, _ in it._decoders.pairs])
    )
    assert any(os.listdir(folder) for folder in folders)
    decoders.close()
    assert not any(map(os.path.exists, folders))


def test_a_run_apart_publishes_the_same_tables(archive, tmp_path, rows):
    shutil.copy(archive / "a.wav", archive / "again.wav")
    for where in ("beside", "apart"):
        settings = ScoreSettings(plan=PlanSettings(score_duplicates_once=True), resources=Resources(decode=where))
        score(ScoreRequest(archives=(str(archive),), out=str(tmp_path / where), dt="2026-11-20", settings=settings))
    for table in ("segments", "recordings"):
        assert rows(tmp_path / "beside", table).equals(rows(tmp_path / "apart", table))
