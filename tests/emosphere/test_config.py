import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from emosphere.config import digest, from_mapping, kinds_of, load_config, load_tables, to_mapping
from emosphere.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Segment:
    longest_s: float = 12.0
    shortest_s: float = 1.0

    def __post_init__(self) -> None:
        if self.shortest_s > self.longest_s:
            raise ValueError(f"shortest_s={self.shortest_s} must be at most longest_s={self.longest_s}.")


@dataclass(frozen=True, kw_only=True)
class Run:
    model: str = "default"
    device: Literal["cpu", "cuda"] = "cpu"
    batch: int = 8
    is_dry: bool = False
    limit: int | None = None
    sizes: tuple[int, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    segment: Segment = Segment()


@dataclass(frozen=True, kw_only=True)
class Needy:
    path: str
    seed: int


def read(text: str, folder: Path) -> Run:
    path = folder / "run.toml"
    path.write_text(text)
    return load_config(Run, path)


def test_no_file_gives_the_defaults() -> None:
    assert load_config(Run, None) == Run()


def test_tables_become_nested_settings(tmp_path: Path) -> None:
    run = read(
        'model = "m"\ndevice = "cuda"\nlimit = 3\nsizes = [1, 2]\n[segment]\nlongest_s = 8\n[weights]\nccc = 1\n',
        tmp_path,
    )
    assert run == Run(
        model="m", device="cuda", limit=3, sizes=(1, 2), weights={"ccc": 1.0}, segment=Segment(longest_s=8.0)
    )
    assert isinstance(run.segment.longest_s, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("modle = 'm'", r"run\.toml: 'modle' is not a setting of Run\. Did you mean 'model'\?", id="typo"),
        pytest.param(
            "[segment]\nlongst_s = 8",
            r"run\.toml: segment: 'longst_s' is not a setting of Segment\. Did you mean 'longest_s'\?",
            id="typo in a table",
        ),
        pytest.param("qqqq = 1", r"'qqqq' is not a setting of Run\. It knows: model, device, batch", id="far off"),
        pytest.param("batch = 'many'", r"batch: expected int, found 'many'", id="text for a number"),
        pytest.param("batch = 1.5", r"batch: expected int, found 1\.5", id="fraction for a whole number"),
        pytest.param("batch = true", r"batch: expected int, found True", id="yes for a number"),
        pytest.param("is_dry = 1", r"is_dry: expected bool, found 1", id="number for a yes"),
        pytest.param("model = 3", r"model: expected str, found 3", id="number for a text"),
        pytest.param("limit = 'x'", r"limit: expected int, found 'x'", id="text for an optional number"),
        pytest.param("sizes = [1, 'x']", r"sizes: expected int, found 'x'", id="text in a list"),
        pytest.param("[weights]\nccc = 'x'", r"weights\.ccc: expected float, found 'x'", id="text in free table"),
        pytest.param("device = 'tpu'", r"device: 'tpu' is not one of 'cpu', 'cuda'", id="not one of the choices"),
        pytest.param("segment = 3", r"segment: expected a table, found 3", id="number for a table"),
        pytest.param(
            "[segment]\nshortest_s = 20", r"segment: shortest_s=20\.0 must be at most longest_s=12\.0", id="two at odds"
        ),
        pytest.param("model = ", r"run\.toml: not valid TOML", id="not TOML"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place_and_a_way_out(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read(text, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml: cannot be read as a settings file"):
        load_config(Run, tmp_path / "absent.toml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "sound.toml").write_bytes(b"\xff\xfe\x00RIFF")
    with pytest.raises(UsageError, match=r"sound\.toml: cannot be read as a settings file"):
        load_config(Run, tmp_path / "sound.toml")


def test_all_missing_settings_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"test: Needy also needs path, seed\."):
        from_mapping(Needy, {}, source="test")


def test_settings_survive_the_way_to_plain_values_and_back() -> None:
    run = Run(model="m", limit=2, sizes=(3,), weights={"ccc": 0.5}, segment=Segment(longest_s=6.0))
    assert from_mapping(Run, to_mapping(run), source="again") == run


def test_the_digest_knows_values_and_not_their_order() -> None:
    one = from_mapping(Run, {"model": "m", "batch": 4}, source="one")
    other = from_mapping(Run, {"batch": 4, "model": "m"}, source="other")
    assert digest(one) == digest(other)
    assert len(digest(one)) == 16
    assert set(digest(one)) <= set("0123456789abcdef")


@pytest.mark.parametrize("change", [{"batch": 9}, {"limit": 1}, {"segment": Segment(longest_s=11.0)}], ids=str)
def test_any_changed_setting_changes_the_digest(change: dict[str, Any]) -> None:
    assert digest(dataclasses.replace(Run(), **change)) != digest(Run())


@dataclass(frozen=True, kw_only=True)
class Square:
    kind: Literal["square"]
    side: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Circle:
    kind: Literal["circle"]
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shape: Square | Circle


def test_the_alternative_that_is_meant_says_what_is_wrong():
    assert from_mapping(Drawing, {"shape": {"kind": "circle", "radius": 2}}, source="x").shape == Circle(
        kind="circle", radius=2.0
    )
    with pytest.raises(UsageError, match=r"'radus' is not a setting of Circle. Did you mean 'radius'"):
        from_mapping(Drawing, {"shape": {"kind": "circle", "radus": 2}}, source="x")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    KINDS: ClassVar[dict[str, type["Tool"]]] = {}
    kind: str


def _pitch_is_a_number_of_teeth(value: Any) -> str:
    return f"Write `teeth = {600 // value}`."


@dataclass(frozen=True, kw_only=True, slots=True)
class Saw(Tool):
    REPLACED: ClassVar[dict[str, Any]] = {"pitch_mm": _pitch_is_a_number_of_teeth}
    kind: Literal["saw", "hacksaw"]
    teeth: int = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Hammer(Tool):
    kind: Literal["hammer"] = "hammer"
    weight_kg: float = 0.5


Tool.KINDS.update({"saw": Saw, "hacksaw": Saw, "hammer": Hammer})


def _depth_is_in_millimetres(value: Any) -> str:
    return f"Write `depth_mm = {10 * value}`."


@dataclass(frozen=True, kw_only=True)
class Bench:
    REPLACED: ClassVar[dict[str, Any]] = {"depth_cm": _depth_is_in_millimetres}
    first: Tool = Hammer()
    spare: Tool | None = None
    hung: dict[str, Tool] = field(default_factory=dict)
    depth_mm: int = 600


def test_a_kind_that_a_registry_knows_chooses_the_class() -> None:
    values = {
        "first": {"kind": "hacksaw", "teeth": 32},
        "spare": {"kind": "hammer", "weight_kg": 1},
        "hung": {"left": {"kind": "saw"}, "right": {"kind": "hammer"}},
    }
    bench = from_mapping(Bench, values, source="x")
    assert bench == Bench(
        first=Saw(kind="hacksaw", teeth=32),
        spare=Hammer(weight_kg=1.0),
        hung={"left": Saw(kind="saw"), "right": Hammer()},
    )
    assert from_mapping(Bench, to_mapping(bench), source="again") == bench
    assert from_mapping(Bench, {}, source="x").spare is None


def test_a_class_of_a_registry_stands_for_itself_alone() -> None:
    assert kinds_of(Tool) is Tool.KINDS
    assert kinds_of(Saw) is None
    assert kinds_of(dict[str, Tool]) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"first": {"kind": "drill"}},
            r"x: first: expected a table with kind = one of 'saw', 'hacksaw', 'hammer'; found kind = 'drill'\.",
            id="unknown kind",
        ),
        pytest.param({"first": {"teeth": 3}}, r"x: first: expected a table .*; found no kind\.", id="no kind"),
        pytest.param(
            {"first": "saw"}, r"x: first: expected a table with kind = one of .*; found 'saw'\.", id="no table"
        ),
        pytest.param(
            {"hung": {"left": {"kind": "axe"}}},
            r"x: hung\.left: expected a table with kind .*'axe'",
            id="in free table",
        ),
        pytest.param(
            {"first": {"kind": "saw", "tooth": 3}},
            r"x: first: 'tooth' is not a setting of Saw\. Did you mean 'teeth'\?",
            id="another kind's key",
        ),
        pytest.param(
            {"hung": {"left": {"kind": "hammer", "weight_kg": "x"}}},
            r"x: hung\.left: weight_kg: expected float, found 'x'",
            id="wrong value in free table",
        ),
        pytest.param(
            {"spare": {"kind": "saw", "teeth": "x"}},
            r"x: spare: teeth: expected int, found 'x'",
            id="in an optional one",
        ),
    ],
)
def test_what_is_no_kind_of_the_registry_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_mapping(Bench, values, source="x")


def test_a_setting_of_an_earlier_version_is_refused_with_what_takes_its_place() -> None:
    message = r"x: 'depth_cm' is a setting of an earlier version\. Write `depth_mm = 700`\."
    with pytest.raises(UsageError, match=message):
        from_mapping(Bench, {"depth_cm": 70}, source="x")
    with pytest.raises(UsageError, match=r"'depth_m' is not a setting of Bench\. Did you mean 'depth_mm'\?"):
        from_mapping(Bench, {"depth_m": 70}, source="x")


def test_earlier_settings_are_found_in_tables_of_a_kind_optional_ones_and_those_by_name() -> None:
    saw = {"kind": "saw", "pitch_mm": 20}
    values = {"first": saw, "spare": saw | {"pitch_mm": 30}, "hung": {"left": saw | {"pitch_mm": 60}}, "depth_cm": 7}
    with pytest.raises(UsageError) as refused:
        from_mapping(Bench, values, source="x")
    assert str(refused.value).splitlines() == [
        "x: first: 'pitch_mm' is a setting of an earlier version. Write `teeth = 30`.",
        "x: spare: 'pitch_mm' is a setting of an earlier version. Write `teeth = 20`.",
        "x: hung.left: 'pitch_mm' is a setting of an earlier version. Write `teeth = 10`.",
        "x: 'depth_cm' is a setting of an earlier version. Write `depth_mm = 70`.",
    ]
    # A key that only another kind once had is no earlier setting of this one.
    with pytest.raises(UsageError, match=r"x: first: 'pitch_mm' is not a setting of Hammer\."):
        from_mapping(Bench, {"first": {"kind": "hammer", "pitch_mm": 20}}, source="x")


def test_settings_of_a_network_of_an_earlier_version_are_refused_with_the_lines_that_take_their_place() -> None:
    from emosphere.model.architecture import NetworkConfig

    today = {
        "streams": {"speech": {"kind": "logmel"}},
        "pooling": {"kind": "mean"},
        "heads": {"vad": {}},
    }
    assert from_mapping(NetworkConfig, today, source="x").streams["speech"].kind == "logmel"
    old = {name: value for name, value in today.items() if name != "streams"} | {"encoder": {"kind": "wavlm"}}
    message = r"'encoder' is a setting .*\. Call the table `\[network\.streams\.speech\]`, with kind = \"wavlm\""
    with pytest.raises(UsageError, match=message):
        from_mapping(NetworkConfig, old, source="x")
    with pytest.raises(UsageError, match=r"heads\.region: 'outputs' is .* `outputs = 18` out.* `regions = 18`"):
        from_mapping(NetworkConfig, today | {"heads": {"region": {"outputs": 18}}}, source="x")


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_a_file_lies_over_its_base_key_by_key(tmp_path: Path) -> None:
    write(
        tmp_path,
        ground='model = "g"\nbatch = 4\n[segment]\nlongest_s = 9.0\nshortest_s = 2.0\n',
        middle='base = "ground.toml"\nbatch = 5\n',
        top='base = "middle.toml"\nmodel = "t"\n[segment]\nlongest_s = 7.0\n',
    )
    run = load_config(Run, tmp_path / "top.toml")
    assert (run.model, run.batch, run.segment) == ("t", 5, Segment(longest_s=7.0, shortest_s=2.0))


def test_another_base_may_take_its_place(tmp_path: Path) -> None:
    write(tmp_path, ground="batch = 4\n", other="batch = 6\nlimit = 1\n", top='base = "ground.toml"\nlimit = 2\n')
    run = load_config(Run, tmp_path / "top.toml", over=tmp_path / "other.toml")
    assert (run.batch, run.limit) == (6, 2)
    assert load_config(Run, tmp_path / "ground.toml", over=tmp_path / "other.toml").batch == 6


def test_a_table_of_another_kind_replaces_the_whole_table(tmp_path: Path) -> None:
    """Its keys mean something else, so none may shine through."""
    write(
        tmp_path,
        ground='[part]\nkind = "style"\ndim = 4\n',
        same='base = "ground.toml"\n[part]\nkind = "style"\nheads = 2\n',
        other='base = "ground.toml"\n[part]\nkind = "statistics"\n',
    )
    assert load_tables(tmp_path / "same.toml")["part"] == {"kind": "style", "dim": 4, "heads": 2}
    assert load_tables(tmp_path / "other.toml")["part"] == {"kind": "statistics"}


def test_bases_in_a_circle_are_refused(tmp_path: Path) -> None:
    write(tmp_path, one='base = "two.toml"\n', two='base = "one.toml"\n')
    with pytest.raises(UsageError, match=r"two\.toml: its base .*one\.toml builds on it"):
        load_tables(tmp_path / "one.toml")
