"""The JSON result and the row in ``runs`` have the same figures."""

from emosphere.store import locate
from emosphere.tables.schema import columns_from
from pipelines.score.publish.result import counts


def test_the_figures_of_a_result_are_the_counts_in_runs(tmp_path):
    result = counts("run", out=locate(str(tmp_path)), wall_s=1.0, scored=2, failed=1)
    assert list(result) == ["run_id", *columns_from("runs", "count"), "out"]
    assert result["recordings"] == 3
