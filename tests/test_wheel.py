import shutil
import subprocess
import sys
import zipfile
from pathlib import Path


def test_the_wheel_ships_the_three_rooms_the_model_and_the_command(root: Path, tmp_path: Path) -> None:
    for name in ("emosphere", "pipelines", "jobs"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path)
    # With what is installed: no network.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "wheel"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (tmp_path / "wheel").iterdir()
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        (entry_points,) = [packed.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    modules = {
        str(path.relative_to(root))
        for room in ("emosphere", "pipelines", "jobs")
        for path in (root / room).rglob("*.py")
    }
    assert modules <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"emosphere", "pipelines", "jobs"}
    assert {"emosphere/py.typed", "jobs/configs/score-night.toml"} <= names
    default = {f"emosphere/model/default/{name}" for name in ("config.json", "model.safetensors", "README.md")}
    assert default <= names
    assert "emosphere = jobs.__main__:main" in entry_points
