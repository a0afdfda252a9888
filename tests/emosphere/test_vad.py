from emosphere.tables.schema import SEGMENTS
from emosphere.vad import VAD_DIMS


def test_the_order_is_the_one_of_the_name() -> None:
    assert "".join(dimension[0] for dimension in VAD_DIMS).upper() == "VAD"


def test_tables_name_the_dimensions_in_that_order() -> None:
    assert tuple(column.name for column in SEGMENTS if column.name in VAD_DIMS) == VAD_DIMS
