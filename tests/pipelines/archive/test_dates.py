import pytest

from emosphere.errors import UsageError
from pipelines.archive.dates import Window, check_template, parse_time, path_time
from pipelines.archive.recording import Recording

DAY_US = 86_400_000_000


def recording(uri: str = "s3://b/a.wav", modified_us: int | None = None) -> Recording:
    return Recording(source_uri=uri, kind="object", url=b"", modified_us=modified_us)


def test_a_window_is_half_open():
    window = Window(since_us=10, until_us=20)
    assert [window.holds(recording(modified_us=at)) for at in (9, 10, 19, 20, None)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert Window().holds(recording())


@pytest.mark.parametrize(
    ("uri", "template", "date"),
    [
        ("s3://b/calls/2026/11/20/a.wav", "calls/%Y/%m/%d", "2026-11-20"),
        ("s3://b/dt=2026-11-20/a.wav", "dt=%Y-%m-%d", "2026-11-20"),
        ("s3://b/20261120T07_a.wav", "%Y%m%dT%H", "2026-11-20T07:00"),
        ("s3://b/calls/2026/13/20/a.wav", "calls/%Y/%m/%d", None),
        ("s3://b/other/a.wav", "calls/%Y/%m/%d", None),
    ],
)
def test_a_template_reads_the_date_out_of_a_path(uri, template, date):
    check_template(template)
    assert path_time(uri, template) == (parse_time(date, "--since") if date else None)


@pytest.mark.parametrize("template", ["%Y-%m", "%Y/%m/%d/%d", "calls"])
def test_a_template_needs_year_month_and_day_once(template):
    with pytest.raises(UsageError, match="once each"):
        check_template(template)


def test_times_without_a_zone_are_utc():
    assert parse_time("1970-01-02", "--since") == DAY_US
    assert parse_time("1970-01-02T01:00:00+01:00", "--since") == DAY_US
