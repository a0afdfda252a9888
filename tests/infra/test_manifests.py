"""Every manifest is valid, and every command, file, flag and version it names exists."""

import datetime
import gzip
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from jobs import score

YAML_FILES = ("rayjob-score.yaml", "cronjob-score.yaml", "kustomization.yaml")
DAY, NEXT_DAY = "1970-01-01", "1970-01-02"


def documents(root: Path, name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((root / "infra" / "kuberay" / name).read_text()))


def rayjob(root: Path) -> dict[str, Any]:
    (job,) = documents(root, "rayjob-score.yaml")
    return job


def cronjob(root: Path) -> dict[str, Any]:
    (job,) = [document for document in documents(root, "cronjob-score.yaml") if document["kind"] == "CronJob"]
    return job


@pytest.fixture(scope="module")
def rayjob_schema(shared_data: Path) -> dict[str, Any]:
    """JSON schema of RayJob v1, made strict: the API server drops unknown fields in silence, a test must not."""
    packed = shared_data.parent / "schemas" / "kuberay" / "ray.io_rayjobs.yaml.gz"
    # The C loader: the definition is long, the other takes seconds.
    definition = yaml.load(gzip.decompress(packed.read_bytes()), Loader=yaml.CSafeLoader)
    (version,) = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    return strict(version["schema"]["openAPIV3Schema"])


def strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    stricter = {key: strict(value) for key, value in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if is_object and not schema.get("x-kubernetes-preserve-unknown-fields"):
        stricter.setdefault("additionalProperties", False)
    return stricter


def pod_schema(rayjob_schema: dict[str, Any]) -> dict[str, Any]:
    """Kubernetes' PodTemplateSpec, as it lies inside RayJob."""
    cluster = rayjob_schema["properties"]["spec"]["properties"]["rayClusterSpec"]["properties"]
    schema: dict[str, Any] = cluster["headGroupSpec"]["properties"]["template"]
    return schema


def validate(document: dict[str, Any], schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft7Validator(schema)
    problems = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(document)
    ]
    assert problems == []


def arguments(root: Path) -> list[str]:
    return shlex.split(rayjob(root)["spec"]["entrypoint"])


def parsed(words: list[str]) -> dict[str, Any]:
    """What the score door makes of the words; fails on an unknown flag or a value of the wrong kind."""
    app = typer.Typer()
    app.command()(score.score)
    return typer.main.get_command(app).make_context("score", list(words)).params


def pods(root: Path) -> Iterator[dict[str, Any]]:
    cluster = rayjob(root)["spec"]["rayClusterSpec"]
    yield cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["template"]["spec"]
    yield cronjob(root)["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_every_manifest_is_known_to_these_tests(root: Path) -> None:
    assert {path.name for path in (root / "infra" / "kuberay").iterdir()} == set(YAML_FILES)


def test_the_rayjob_is_valid(root: Path, rayjob_schema: dict[str, Any]) -> None:
    validate(rayjob(root), rayjob_schema)


def test_the_strict_schema_notices_a_misspelt_field(root: Path, rayjob_schema: dict[str, Any]) -> None:
    job = rayjob(root)
    job["spec"]["backofLimit"] = 3
    with pytest.raises(AssertionError, match="backofLimit"):
        validate(job, rayjob_schema)


def test_the_cronjobs_pod_is_valid(root: Path, rayjob_schema: dict[str, Any]) -> None:
    validate(cronjob(root)["spec"]["jobTemplate"]["spec"]["template"], pod_schema(rayjob_schema))


def test_the_rayjob_for_a_real_day_is_valid_too(root: Path, rayjob_schema: dict[str, Any]) -> None:
    text = (root / "infra" / "kuberay" / "rayjob-score.yaml").read_text()
    job = yaml.safe_load(text.replace(DAY, "2026-11-20").replace(NEXT_DAY, "2026-11-21"))
    validate(job, rayjob_schema)
    assert job["metadata"]["name"] == "score-2026-11-20"
    assert "1970" not in yaml.safe_dump(job)


def test_the_entrypoint_is_a_command_the_score_door_takes(root: Path) -> None:
    python, module_flag, module, *words = arguments(root)
    assert (python, module_flag, module) == ("python", "-m", "jobs.score")
    options = parsed(words)
    assert options["json"] is True
    assert (options["dt"], options["since"], options["until"]) == (DAY, DAY, NEXT_DAY)
    assert options["out"].startswith("s3://")
    assert all(archive.startswith("s3://") for archive in options["archives"])


def test_the_settings_of_the_night_are_accepted(root: Path) -> None:
    options = parsed(arguments(root)[3:])
    inside = Path(options["config"])
    assert inside.is_relative_to("/app")  # WORKDIR of the image
    outside = root / inside.relative_to("/app")
    accepted = score.ScoreOptions(**(options | {"config": outside})).request()
    assert accepted.window.since_us < accepted.window.until_us


def test_the_night_asks_for_no_more_than_the_cluster_may_grow_to(root: Path) -> None:
    settings = tomllib.loads((root / "jobs" / "configs" / "score-night.toml").read_text())["resources"]
    (group,) = rayjob(root)["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert settings["actors"] * settings["gpus_per_actor"] <= group["maxReplicas"] * requests["nvidia.com/gpu"]
    actors_per_pod = requests["nvidia.com/gpu"] / settings["gpus_per_actor"]
    # One CPU of each pod stays for Ray Data's other tasks.
    assert settings["cpus_per_actor"] * actors_per_pod <= int(requests["cpu"]) - 1


def test_the_head_takes_no_work_and_wants_a_token(root: Path) -> None:
    cluster = rayjob(root)["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["enableInTreeAutoscaling"] is True


def test_a_night_ends_by_itself_and_may_be_tried_again(root: Path) -> None:
    spec = rayjob(root)["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["backoffLimit"] > 0
    watcher = cronjob(root)["spec"]["jobTemplate"]["spec"]
    assert watcher["activeDeadlineSeconds"] > spec["activeDeadlineSeconds"]
    assert spec["ttlSecondsAfterFinished"] > 60  # the watcher looks every half minute


def test_ray_is_the_one_of_the_lock(root: Path) -> None:
    locked = re.search(r"^ray==(\S+)", (root / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert rayjob(root)["spec"]["rayClusterSpec"]["rayVersion"] == locked.group(1)


def test_all_pods_of_the_cluster_run_the_image_of_this_version(root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    *cluster_pods, _ = pods(root)
    assert {container["image"] for pod in cluster_pods for container in pod["containers"]} == {f"emosphere:{version}"}
    assert f"--tag emosphere:{version}" in (root / "infra" / "images" / "Containerfile").read_text()


def test_no_pod_runs_as_root(root: Path) -> None:
    for pod in pods(root):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_cronjob_never_overlaps(root: Path) -> None:
    assert cronjob(root)["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_cronjob_creates_the_rayjob_that_lies_beside_it(root: Path) -> None:
    (kustomization,) = documents(root, "kustomization.yaml")
    assert all((root / "infra" / "kuberay" / name).is_file() for name in kustomization["resources"])
    (generated,) = kustomization["configMapGenerator"]
    pod = cronjob(root)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert volume["configMap"]["name"] == generated["name"]
    assert mount["name"] == volume["name"]
    (script,) = pod["containers"][0]["args"]
    for path in re.findall(rf"{re.escape(mount['mountPath'])}/(\S+?\.yaml)", script):
        assert path in generated["files"]
        assert (root / "infra" / "kuberay" / path).is_file()
    assert f"s/{DAY}/$day/g" in script
    assert f"s/{NEXT_DAY}/$next/g" in script
    assert 'score-$day"' in script
    assert rayjob(root)["metadata"]["name"] == f"score-{DAY}"


def test_the_cronjob_may_do_what_its_script_does_and_no_more(root: Path) -> None:
    kinds = {document["kind"]: document for document in documents(root, "cronjob-score.yaml")}
    account = kinds["ServiceAccount"]["metadata"]["name"]
    assert kinds["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] == account
    assert kinds["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    assert kinds["RoleBinding"]["roleRef"]["name"] == kinds["Role"]["metadata"]["name"]
    (script,) = kinds["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    (rule,) = kinds["Role"]["rules"]
    assert rule["apiGroups"] == ["ray.io"]
    assert rule["resources"] == ["rayjobs"]
    assert set(rule["verbs"]) == set(re.findall(r"kubectl (\w+)", script)) == {"create", "get"}


def test_the_image_is_built_from_the_lock_and_from_files_that_exist(root: Path) -> None:
    text = (root / "infra" / "images" / "Containerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    copied = [source for word, rest in steps if word == "COPY" for source in rest.split()[:-1]]
    assert all((root / source).exists() for source in copied)
    assert set(copied) <= {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    runs = [rest for word, rest in steps if word == "RUN"]
    assert any("--require-hashes --requirement requirements.lock" in run for run in runs)
    assert any("--no-deps" in run for run in runs)
    assert "HF_HUB_OFFLINE=1" in text
    users = [rest for word, rest in steps if word == "USER"]
    assert users == ["10001:10001"]
    packages = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} <= set(copied)
    (base,) = [rest for word, rest in steps if word == "FROM"]
    assert re.fullmatch(r"python:3\.\d+-slim", base)


KUBECTL = """#!/bin/sh
case "$1 $*" in
  create*) cat > created.yaml ;;
  get*jsonpath*) if [ -f asked ]; then echo "$FINAL"; else touch asked; echo "Running RUNNING"; fi ;;
  get*) [ -f created.yaml ] ;;
esac
"""


@pytest.mark.parametrize(
    ("final", "code"),
    [("Complete SUCCEEDED", 0), ("Complete STOPPED", 1), ("Failed FAILED", 1), ("ValidationFailed ", 1)],
)
def test_the_cronjobs_script_creates_yesterdays_night_and_ends_as_it_did(
    root: Path, tmp_path: Path, final: str, code: int
) -> None:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (script,) = cronjob(root)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    here = script.replace("/manifests", str(root / "infra" / "kuberay")).replace("sleep 30", "sleep 0")
    path = f"{tmp_path}:/usr/bin:/bin"
    today = datetime.datetime.now(datetime.UTC).date()
    run = subprocess.run(
        ["/bin/sh", "-euc", here], cwd=tmp_path, env={"PATH": path, "FINAL": final}, capture_output=True, text=True
    )
    assert run.returncode == code, run.stderr
    created = yaml.safe_load((tmp_path / "created.yaml").read_text())
    options = parsed(shlex.split(created["spec"]["entrypoint"])[3:])
    # The date may turn while the test runs.
    assert datetime.date.fromisoformat(options["until"]) - today in (datetime.timedelta(0), datetime.timedelta(1))
    assert created["metadata"]["name"] == f"score-{options['since']}" == f"score-{options['dt']}"
