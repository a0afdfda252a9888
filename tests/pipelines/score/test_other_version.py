"""Tables and runs that another version wrote, with other columns: refused before anything is scored or written."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from emosphere.errors import UsageError
from emosphere.settings import SpeechSettings
from emosphere.store import locate
from pipelines.erase.command import erase
from pipelines.erase.target import Target
from pipelines.score.command import TooManyFailures, score
from pipelines.score.dry_run import preview
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import ScoreSettings
from tests.pipelines.headers import open_ledger
from tests.pipelines.other_version import Change, rewrite, with_column, with_type, without

DT = "2026-11-20"


def refused_run(made: Path, home: Path) -> ScoreRequest:
    """The command whose run waits in the tables of ``made``, refused for its failures."""
    return ScoreRequest(archives=(str(made / "archive"),), out=str(home / "out"), dt="2026-11-21", max_error_rate=0.0)


def content(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def assert_refused(request: ScoreRequest, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In earnest and as a dry run, with nothing listed or scored, and nothing written."""
    before = content(Path(request.out))
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.score.plan.due.list_archives", lambda *args, **kwargs: pytest.fail("it listed"))
        patch.setattr("pipelines.score.command.score_parts", lambda *args: pytest.fail("it scored"))
        for command in (score, preview):
            with pytest.raises(UsageError, match=match) as refused:
                command(request)
            assert refused.value.exit_code == 2
    assert content(Path(request.out)) == before


@pytest.mark.parametrize(
    ("table", "change", "match"),
    [
        ("segments", without("ood_score", "speaker"), "lacks speaker, ood_score"),
        ("recordings", without("attributes"), "lacks attributes"),
        ("runs", without("exception"), "lacks exception"),
        ("segments", with_column("intensity_level"), "has intensity_level, unknown here"),
        ("segments", with_type("start_ms", pa.int32()), "its start_ms is int32, here int64"),
    ],
)
def test_tables_of_another_version_are_refused_at_once(made, home, monkeypatch, table, change, match):
    [path] = (home / "out" / table).rglob("*.parquet")
    rewrite(path, change)
    request = ScoreRequest(archives=(str(made / "archive"),), out=str(home / "out"), dt="2026-11-23")
    assert_refused(request, rf"{path.name}: another version .*{match}.* Score into a new OUT\.", monkeypatch)


def test_another_models_table_is_refused_too(made, home, monkeypatch):
    [path] = (home / "out/segments").rglob("*.parquet")
    other = path.parent.with_name("model=other-0") / path.name
    other.parent.mkdir()
    shutil.copy(path, other)
    rewrite(other, without("speaker"))
    assert_refused(refused_run(made, home), "model=other-0.* lacks speaker", monkeypatch)


def test_columns_in_another_order_that_may_be_null_are_scored_into(made, home):
    for path in (home / "out/segments").rglob("*.parquet"):
        rewrite(
            path,
            lambda table: table.select(table.column_names[::-1]).cast(
                pa.schema([field.with_nullable(True) for field in reversed(list(table.schema))])
            ),
        )
    settings = ScoreSettings(listen=SpeechSettings(find_speech=False))
    archive = str(made / "archive/d.flac")
    assert score(ScoreRequest(archives=(archive,), out=str(home / "out"), settings=settings))["scored"] == 1


def test_what_was_not_looked_at_is_refused_before_it_is_replaced(made, home):
    [path] = (home / "out/segments").rglob("*.parquet")
    for dt in ("2026-11-19", "2026-11-21"):
        beside = home / "out/segments" / f"dt={dt}" / path.parent.name / path.name
        beside.parent.mkdir(parents=True)
        shutil.copy(path, beside)
        rewrite(beside, lambda table: table.slice(0, 0))
    rewrite(path, without("speaker"))
    before = path.read_bytes()
    settings = ScoreSettings(listen=SpeechSettings(find_speech=False))
    with pytest.raises(UsageError, match=f"dt={DT}.* lacks speaker. Score into a new OUT"):
        score(ScoreRequest(archives=(str(made / "archive/d.flac"),), out=str(home / "out"), settings=settings))
    assert path.read_bytes() == before


def without_staged_valence(table: pa.Table) -> pa.Table:
    segments = [
        [{k: v for k, v in row.items() if k != "valence"} for row in rows]
        for rows in table.column("segments").to_pylist()
    ]
    record = table.schema.field("segments").type.value_type
    kind = pa.list_(pa.struct([field for field in record if field.name != "valence"]))
    return table.set_column(table.schema.get_field_index("segments"), "segments", pa.array(segments, kind))


STAGED_OTHERWISE: list[tuple[str, Change, str]] = [
    ("plan", without("attempts"), "lacks attempts"),
    ("staging", without("flaw_code"), "lacks flaw_code"),
    ("staging", without_staged_valence, r"lacks segments\.valence"),
    ("staging", with_column("rms_db"), "has rms_db, unknown here"),
]


@pytest.mark.parametrize(("kind", "change", "match"), STAGED_OTHERWISE)
def test_a_run_that_another_version_began_is_refused_or_begun_anew(made, home, monkeypatch, kind, change, match):
    request, run = refused_run(made, home), next((home / "out/_emosphere/runs").glob("*/run.*.json")).parent
    rewrite(max((run / kind).glob("*.parquet")), change)
    assert_refused(
        request, rf"{kind}/part-.*{match}.* Finish run {run.name} with that version, or remove .*{run}", monkeypatch
    )
    shutil.rmtree(run)
    with pytest.raises(TooManyFailures) as verdict:
        score(request)
    assert (verdict.value.result["run_id"], verdict.value.result["failed"]) == (run.name, 1)


def test_a_part_between_is_refused_before_anything_is_published(made, home, monkeypatch):
    monkeypatch.setattr("pipelines.score.command.check_begun", lambda job: None)
    rewrite(min((home / "out").rglob("staging/*.parquet")), without("flaw_code"))
    before = content(home / "out/segments")
    with pytest.raises(UsageError, match=r"staging/part-.* lacks flaw_code\. Finish run"):
        score(refused_run(made, home))
    assert content(home / "out/segments") == before


def test_a_header_of_another_version_is_refused(made, home, monkeypatch):
    [path] = (home / "out/_emosphere/runs").glob("*/run.*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    assert_refused(refused_run(made, home), r"run\.\d+\.json: another version .*colour.*Finish run", monkeypatch)


def test_half_published_by_another_version_is_left_to_it(made, home, monkeypatch):
    """Whatever the command: without its run nobody knows what else was to be replaced."""
    [path] = (home / "out/_emosphere/runs").glob("*/run.*.json")
    rewrite(max(path.parent.glob("staging/*.parquet")), without("flaw_code"))
    open_ledger(locate(str(home / "out"))).mark_publishing(path.parent.name, set())
    request = ScoreRequest(archives=(str(made / "archive/d.flac"),), out=str(home / "out"))
    assert_refused(request, f"Finish run {path.parent.name} with that version, or score into a new OUT", monkeypatch)


def test_a_new_out_remembers_what_was_erased_from_the_old(made, home):
    old, new, target = home / "out", home / "new", made / "archive/d.flac"
    erase(str(old), Target(uri=str(target)))
    (new / "_emosphere").mkdir(parents=True)
    shutil.copy(old / "_emosphere/erased.json", new / "_emosphere")
    result = score(ScoreRequest(archives=(str(target),), out=str(new)))
    assert (result["scored"], result["skipped_policy"]) == (0, 1)
