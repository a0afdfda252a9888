"""emosphere sql and its views."""

import json

import pytest


@pytest.fixture(scope="module")
def tables(tmp_path_factory, root):
    from pipelines.score.command import score
    from pipelines.score.request import ScoreRequest

    out = tmp_path_factory.mktemp("tables")
    score(ScoreRequest(archives=(str(root / "demo/archive"),), out=str(out), roles={0: "customer"}))
    return out


def test_a_question_is_answered_as_table_csv_or_json(emosphere, tables):
    query = "SELECT status, count(*) AS n FROM recordings GROUP BY ALL ORDER BY 1"
    as_json = json.loads(emosphere("sql", tables, query, "--format", "json").out)
    assert {row["status"] for row in as_json} >= {"scored", "no_speech"}
    [run] = json.loads(emosphere("sql", tables, "SELECT max(started_at) AS at FROM runs", "--format", "json").out)
    assert run["at"].endswith("+00:00")  # by no package that is not in the lock
    csv = emosphere("sql", tables, query, "--format", "csv").out.splitlines()
    assert csv[0] == "status,n"
    assert len(csv) == len(as_json) + 1
    table = emosphere("sql", tables, query)
    assert "scored" in table.out
    assert table.code == 0


def test_views_follow_from_segments(emosphere, tables):
    row = json.loads(emosphere("sql", tables, """
        SELECT max(abs(3 * s.valence + 4 - a.valence_1to7)) AS one,
               max(abs((s.arousal + 1) / 2 - b.arousal_0to1)) AS two
        FROM segments s JOIN segments_1to7 a USING (recording_id, channel, segment_index)
        JOIN segments_0to1 b USING (recording_id, channel, segment_index)""", "--format", "json").out)[0]  # fmt: skip
    assert row["one"] < 1e-6
    assert row["two"] < 1e-6
    summary = json.loads(
        emosphere("sql", tables, "SELECT sum(num_segments) AS n FROM recording_summary", "--format", "json").out
    )
    segments = json.loads(emosphere("sql", tables, "SELECT count(*) AS n FROM segments", "--format", "json").out)
    assert summary == segments


@pytest.mark.parametrize(
    ("query", "message"),
    [("SELEC 1", "syntax error"), ("SELECT * FROM segmnts", "segments"), ("SELECT nothing FROM segments", "nothing")],
)
def test_a_wrong_question_is_answered_with_what_is_wrong(emosphere, tables, query, message):
    answer = emosphere("sql", tables, query)
    assert answer.code == 2
    assert message in answer.err


def test_a_folder_without_tables_is_said_so(emosphere, tmp_path):
    answer = emosphere("sql", tmp_path, "SELECT 1")
    assert answer.code == 2
    assert "no table 'segments' there" in answer.err


def test_a_long_question_draws_no_progress_bar_into_the_answer(emosphere, tables):
    done = emosphere("sql", tables, "SELECT current_setting('enable_progress_bar') AS bar", "--format", "json")
    assert json.loads(done.out) == [{"bar": False}]
