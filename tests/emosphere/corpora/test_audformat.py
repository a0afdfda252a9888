"""Databases written by the package audformat itself: scales and splits are the database's own."""

import builtins
import pickle
from pathlib import Path
from typing import Any

import audformat
import pandas as pd
import pytest

from emosphere.clips.rows import Scale
from emosphere.corpora.audformat import _order, read_audformat
from emosphere.corpora.checks import centred_rows
from emosphere.errors import MachineError, UsageError
from emosphere.store import Location, locate
from tests.corpora.audformat_database import make_database


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_clips_come_out_as_computed_by_hand(tmp_path: Path, storage: str) -> None:
    make_database(tmp_path, storage=storage)
    rows, dropped = centred_rows(read_audformat(locate(str(tmp_path))))
    assert dropped == []
    assert [(row["valence"], row["arousal"], row["dominance"]) for row in rows] == [
        (-1, 0, None), (1, None, None), (-0.5, None, None), (0.5, None, None),
    ]  # fmt: skip
    assert [(row["start_ms"], row["end_ms"]) for row in rows] == [(0, None), (0, None), (0, 1500), (1500, None)]
    assert [row["split"] for row in rows] == ["train", "test", "train", "train"]
    assert [(row["speaker"], row["gender"]) for row in rows][1:3] == [("mine_s2", "male"), ("mine_s3", "female")]
    assert [row["category"] for row in rows] == ["anger", "neutral", None, None]
    assert rows[3]["uri"] == str(tmp_path / "audio" / "3.wav")


def test_people_may_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    database = make_database(tmp_path / "one")
    people = audformat.MiscTable(pd.Index(["s1", "s2", "s3"], name="speaker", dtype="string"))
    database["people"] = people
    people["gender"] = audformat.Column()
    people["gender"].set(["female", "male", "male"])
    database.schemes["speaker"].replace_labels("people")
    database.save(str(tmp_path / "two"), storage_format="csv")
    rows = read_audformat(locate(str(tmp_path / "two"))).rows
    assert [row["gender"] for row in rows] == ["female", "male", "male", "male"]


def test_categories_alone_need_no_scale(tmp_path: Path) -> None:
    """The tables' own splits count, and there are no ratings to have a scale."""
    source = locate(str(tmp_path / "two"))
    database = make_database(tmp_path / "one")
    for table in database.tables.values():
        for dim in {"valence", "arousal"} & set(table.columns):
            table.drop_columns(dim, inplace=True)
    database.save(str(tmp_path / "two"), storage_format="csv")
    corpus = read_audformat(source)
    rows, dropped = centred_rows(corpus)
    assert [(row["category"], row["split"], row["valence"]) for row in rows] == [
        ("anger", "train", None),
        ("neutral", "test", None),
    ]
    assert (corpus.scales, dropped) == ({}, [])
    with pytest.raises(UsageError, match=r"--scale 1\.\.7 was given, but no table has a column valence.*leave out"):
        read_audformat(source, scale=Scale(1, 7))


@pytest.mark.parametrize(
    ("column", "labels", "transcripts"),
    [
        ("transcription", {"a01": "Der Lappen.", "b02": "Sie haben."}, ["Der Lappen.", "Sie haben.", None, None]),
        ("transcript", {"a01": {"text": "Der Lappen."}, "b02": {"words": 2}}, ["Der Lappen.", None, None, None]),
        ("text", ["a01", "b02"], ["a01", "b02", None, None]),
    ],
)
def test_transcripts_are_the_texts_of_the_clips_themselves(
    tmp_path: Path, column: str, labels: Any, transcripts: list[str | None]
) -> None:
    """A scheme may have a text for each label; and the third file's is not that of its two stretches."""
    database = make_database(tmp_path / "one")
    database.schemes[column] = audformat.Scheme("str", labels=labels)
    database["files"][column] = audformat.Column(scheme_id=column)
    database["files"][column].set(["a01", "b02", "a01"])
    database.save(str(tmp_path / "two"), storage_format="csv")
    rows = read_audformat(locate(str(tmp_path / "two"))).rows
    assert [row["transcript"] for row in rows] == transcripts


def test_a_scale_that_nobody_declares_is_refused(tmp_path: Path) -> None:
    make_database(tmp_path, scale=False)
    with pytest.raises(UsageError, match="the scheme of valence has no minimum and maximum; declare its scale"):
        read_audformat(locate(str(tmp_path)))
    rows, _ = centred_rows(read_audformat(locate(str(tmp_path)), scale=Scale(1, 7)))
    assert rows[1]["valence"] == pytest.approx(1 / 3)


def test_a_scale_against_the_databases_own_is_refused(tmp_path: Path) -> None:
    make_database(tmp_path)
    with pytest.raises(UsageError, match=r"--scale 0\.\.1, but the database says 1\.\.5"):
        read_audformat(locate(str(tmp_path)), scale=Scale(0, 1))


def test_tables_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """Until one is chosen."""
    database = make_database(tmp_path / "one")
    table = database["other"] = audformat.Table(audformat.filewise_index(["audio/1.wav"]))
    table["valence"] = audformat.Column(scheme_id="valence")
    table["valence"].set([4.0])
    database.save(str(tmp_path / "two"), storage_format="csv")
    source = locate(str(tmp_path / "two"))
    with pytest.raises(UsageError, match=r"audio/1\.wav at 0 ms: valence is 4\.0 in table other and 1\.0 in"):
        read_audformat(source)
    rows = read_audformat(source, tables=["other", "files"], split="test").rows
    assert [(row["valence"], row["split"]) for row in rows] == [(4.0, "test")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tables": ["none"]}, r"--tables names none; it has files, ratings\.test"),
        ({"tables": ["files"]}, "no table has a column valence, arousal, dominance"),
        ({"tables": ["stretches"]}, "no table says the speaker; name it by --columns speaker=NAME"),
        ({"columns": {"dominance": "dom"}}, "--columns names dominance=dom; the tables have speaker, valence"),
        ({"split": "dev"}, "is in split train, and --split dev was given"),
    ],
)
def test_what_the_tables_do_not_say_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    make_database(tmp_path)
    with pytest.raises(UsageError, match=message):
        read_audformat(locate(str(tmp_path)), **options)


def test_a_folder_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no db\.yaml"):
        read_audformat(locate(str(tmp_path)))
    make_database(tmp_path)
    (tmp_path / "db.files.csv").unlink()
    with pytest.raises(UsageError, match=r"names the table files, but there is no db\.files\.csv"):
        read_audformat(locate(str(tmp_path)))
    (tmp_path / "db.yaml").write_text("name: [")
    with pytest.raises(UsageError, match="cannot be read as an audformat database"):
        read_audformat(locate(str(tmp_path)))


def test_a_store_that_fails_is_no_broken_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_database(tmp_path)
    read = Location.read_bytes

    def failing(self: Location) -> bytes:
        if self.path.endswith("files.csv"):
            raise MachineError("the disk is gone")
        return read(self)

    monkeypatch.setattr(Location, "read_bytes", failing)
    with pytest.raises(MachineError, match="the disk is gone"):
        read_audformat(locate(str(tmp_path)))


def test_stretches_that_begin_together_come_in_one_order() -> None:
    keys = [("b", 0, 9), ("a", 5, None), ("a", 5, 900), ("a", 5, 80), ("a", 0, None)]
    assert sorted(keys, key=_order) == [("a", 0, None), ("a", 5, 80), ("a", 5, 900), ("a", 5, None), ("b", 0, 9)]


def test_a_pickled_table_is_never_opened(tmp_path: Path) -> None:
    make_database(tmp_path)

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    (tmp_path / "db.files.pkl").write_bytes(pickle.dumps(Bomb()))
    assert len(read_audformat(locate(str(tmp_path))).rows) == 4
    assert not (tmp_path / "exploded").exists()


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def lacking(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "audformat":
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(UsageError, match=r"pip install 'emosphere\[corpora\]'"):
        read_audformat(locate(str(tmp_path)))
