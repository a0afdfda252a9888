"""Tables of any make: the scale is declared, columns are named, nothing is guessed."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emosphere.clips.rows import Corpus, Scale
from emosphere.corpora.checks import centred_rows
from emosphere.corpora.declared_table import parse_columns, read_table, read_words
from emosphere.errors import UsageError
from emosphere.store import locate

HEADER = "path,start_ms,end_ms,channel,valence,arousal,dominance,category,speaker,split"
ROW = "a.wav,500,2500,1,5,3,,anger,s1,train"


def read(folder: Path, *rows: str, header: str = HEADER, **options: Any) -> Corpus:
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    return read_table(locate(str(folder / "t.csv")), **({"scale": Scale(1, 5), "corpus": "c"} | options))


def test_a_row_comes_out_as_computed_by_hand(tmp_path: Path) -> None:
    (row,), _ = centred_rows(read(tmp_path, ROW))
    assert (row["valence"], row["arousal"], row["dominance"]) == (1, 0, None)
    assert (row["start_ms"], row["end_ms"], row["channel"], row["weak"]) == (500, 2500, 1, False)
    assert (row["speaker"], row["split"], row["corpus"], row["category"]) == ("c_s1", "train", "c", "anger")
    assert row["uri"] == str(tmp_path.parent / "a.wav")  # it is not in the table's own folder


def test_columns_go_by_the_names_that_are_given(tmp_path: Path) -> None:
    table = read(
        tmp_path, "x.wav,1,c_p1,f,extra", header="file,act,who,sex,other", split="dev",
        columns=parse_columns("uri=file,arousal=act,speaker=who,gender=sex"), audio=locate("s3://bucket/audio"),
    )  # fmt: skip
    (row,), _ = centred_rows(table)
    assert (row["uri"], row["arousal"], row["valence"]) == ("s3://bucket/audio/x.wav", -1, None)
    assert (row["speaker"], row["gender"], row["split"]) == ("c_p1", "f", "dev")
    assert table.notes == [f"file://{tmp_path}/t.csv: columns not used: other."]


def test_categories_alone_need_no_scale(tmp_path: Path) -> None:
    table = read(
        tmp_path, "a.wav,anger,,s,train", 'b.wav,,"[""fear"", ""anger""]",s,train', "c.wav,,,s,train",
        header="path,category,categories,speaker,split", scale=None,
    )  # fmt: skip
    rows, dropped = centred_rows(table)
    assert [(row["category"], row["categories"], row["valence"]) for row in rows] == [
        ("anger", None, None),
        (None, '["anger", "fear"]', None),
    ]
    assert [clip.reason for clip in dropped] == ["no_label"]


def test_transcripts_and_label_sets_go_by_the_names_that_are_given(tmp_path: Path) -> None:
    table = {"uri": ["/a.wav"], "said": ["Wer\r\nda? "], "one_of": [["fear", "anger"]], "speaker": ["s"]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    columns = parse_columns("transcript=said,categories=one_of")
    table = read_table(locate(str(tmp_path / "t.parquet")), columns=columns, corpus="c", split="train")
    (row,), _ = centred_rows(table)
    assert (row["transcript"], row["categories"], table.notes) == ("Wer da?", '["anger", "fear"]', [])


def test_parquet_is_read_alike(tmp_path: Path) -> None:
    table = {"uri": ["/a.wav"], "valence": [0.25], "speaker": [7], "split": ["train"], "end_ms": [None], "weak": [True]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    table = read_table(locate(str(tmp_path / "t.parquet")), scale=Scale(0, 1), corpus="c")
    (row,), _ = centred_rows(table)
    assert (row["uri"], row["valence"], row["speaker"], row["end_ms"], row["weak"]) == (
        "/a.wav", -0.5, "c_7", None, True,
    )  # fmt: skip


def test_acted_words_and_their_ratings_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "path,speaker,emotion,intensity,valence,arousal,corpus,split\n"
        "a.wav,s,fear,strong,,,c,train\nb.wav,s,fear,,-0.5,0.9,c,rated\n"
    )
    rows, _ = centred_rows(read_words(locate(str(path))))
    assert [(row["valence"], row["arousal"], row["dominance"], row["weak"]) for row in rows] == [
        (-0.64, 0.60, -0.43, True),
        (-0.5, 0.9, None, False),
    ]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([ROW], {"scale": None}, r"on which scale are its labels\? Declare it by --scale LOW\.\.HIGH"),
        ([ROW], {"corpus": None}, "no column says the corpus; name it by --columns corpus=NAME or --corpus"),
        ([ROW], {"split": "test"}, r"has a column for split \(split\), and --split test"),
        ([ROW], {"columns": {"valence": "val"}}, "--columns names valence=val; the table has path, start_ms"),
        ([ROW.replace("500", "-1", 1)], {}, r"row 0 \(a\.wav\): start_ms is '-1', wanted a whole number"),
        ([ROW.replace("s1", " ")], {}, r"row 0 \(a\.wav\): speaker is empty"),
        ([ROW + ",x"], {}, "row 0 has another number of cells than the header"),
        ([], {}, "holds no row"),
        (["a,b"], {"header": "path,text"}, "none of the columns valence, .* categories; .* Found path, text"),
        (["a,b"], {"header": "path,category"}, r"--scale 1\.\.5 was given, but it has none of .* Found path, category"),
        (["a,1"], {"header": "path,valence", "scale": None}, r"on which scale are its labels\?"),
        (
            ["a,3,x,t,n\0o"],
            {"header": "path,valence,speaker,split,transcript"},
            r"row 0 \(a\): transcript is 'n\\x00o', which holds the control character U\+0000",
        ),
        (["a,3"], {"header": "path,valence", "split": "train"}, "no column says the speaker"),
        (["a,b,3"], {"header": "path,uri,valence", "split": "train"}, "has both a uri and a path"),
        (["a,3,x,t,maybe"], {"header": "path,valence,speaker,split,weak"}, "weak is 'maybe', wanted true or false"),
    ],
    ids=[
        "scale", "corpus", "two splits", "column", "number", "speaker", "ragged", "empty", "no labels", "scale of what",
        "no scale", "transcript", "no speaker", "two paths", "truth",
    ],
)  # fmt: skip
def test_what_is_not_declared_is_refused(
    tmp_path: Path, rows: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, *rows, **options)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        read_table(locate(str(tmp_path / "none.csv")), scale=Scale(0, 1))
    (tmp_path / "t.parquet").write_text("no Parquet")
    with pytest.raises(UsageError, match="cannot be read as a Parquet table"):
        read_table(locate(str(tmp_path / "t.parquet")), scale=Scale(0, 1))
    with pytest.raises(UsageError, match="cannot be read as a CSV table"):
        read_words(locate(str(tmp_path / "none.csv")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("valnce=x", "'valnce' is not a column of the manifest; did you mean 'valence'"),
        ("valence", "'valence' is not ROLE=NAME"),
        ("valence=a,valence=b", "each role once"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_columns(text)
