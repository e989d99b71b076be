"""The wheel, installed beside a foreign project: it hides none of that project's packages, and it is complete."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("installed")

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "harness", "scenarios", "benchmarks", "tests")
"""Names that a foreign project may well have."""
DATA = (
    "turngap/py.typed",
    "turngap/report/report.html.j2",
    "turngap/scenarios/default.scenario.yaml",
    "turngap/scenarios/budgets/edge500-audio.yaml",
    "turngap/scenarios/networks/clean.yaml",
    "turngap/sweeps/sweep.html.j2",
    "turngap_agent/profiles/cpu.yaml",
    "turngap_agent/py.typed",
    "turngap_agent/weights.toml",
)


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with nothing of this test session's in its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))}
    done = subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of the source distribution, which is built of what git knows of the tree."""
    folder = tmp_path_factory.mktemp("dist")
    tree = folder / "tree"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    build = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
    for step, source in (("build_sdist", tree), ("build_wheel", folder / "unpacked")):
        if step == "build_wheel":
            (sdist,) = folder.glob("*.tar.gz")
            with tarfile.open(sdist) as archive:
                archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
            next(folder.glob("turngap-*/")).rename(source)
        done = run([sys.executable, "-c", build, step, str(folder)], source)
        assert done.returncode == 0, done.stderr[-2000:]
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel; the packages that it needs are those of this environment."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", "--prefix", str(venv), str(wheel)]
    done = run([sys.executable, "-m", "pip", *install], venv)
    assert done.returncode == 0, done.stderr
    # A plain path: the .pth files of that folder, an editable turngap among them, are not read from it.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A foreign project with packages of its own under all those names, and tests that import them."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "steps.py").write_text(f"NAME = {name!r}\n")
    (tmp_path / "conftest.py").write_text("from pipeline.steps import NAME\n\nassert NAME == 'pipeline'\n")
    imports = "".join(f"    from {name} import steps as {name}_steps\n" for name in PACKAGES)
    names = "".join(f"    assert {name}_steps.NAME == {name!r}\n" for name in PACKAGES)
    (tmp_path / "tests" / "test_it.py").write_text(f"def test_own_packages():\n{imports}{names}")
    return tmp_path


def test_the_wheel_has_two_packages_and_all_their_data(wheel: Path) -> None:
    """Built from the source distribution: what is linked or ignored in the tree is in it as well."""
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        (top_level,) = (name for name in files if name.endswith("/top_level.txt"))
        assert archive.read(top_level).decode().split() == ["turngap", "turngap_agent"]
    assert {name.split("/")[0] for name in files if ".dist-info/" not in name} == {"turngap", "turngap_agent"}
    assert set(DATA) <= files
    scenarios = {f"turngap/{path.relative_to(ROOT)}" for path in (ROOT / "scenarios").rglob("*.yaml")}
    assert scenarios <= files
    templates = [path for pattern in ("*.j2", "*.css", "*.js") for path in (ROOT / "harness").rglob(pattern)]
    assert templates
    assert {str(path.relative_to(ROOT / "harness")) for path in templates} <= files


@pytest.mark.parametrize("command", [("-m", "pytest"), ("-c", "import sys, pytest; sys.exit(pytest.console_main())")])
def test_a_foreign_project_runs_its_own_tests(python: Path, project: Path, command: tuple[str, ...]) -> None:
    """With `python -m pytest`, which puts the project's folder on the path, and with `pytest`, which does not."""
    arguments = [] if command[0] == "-m" else ["-P"]
    done = run([str(python), *arguments, *command, "-q", "-p", "no:cacheprovider"], project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    plugins = run([str(python), *arguments, *command, "--trace-config", "--collect-only"], project).stdout
    assert "turngap.pytest_plugin.plugin" in plugins
    assert str(python.parent.parent) in next(line for line in plugins.splitlines() if "pytest_plugin" in line)


def test_the_command_works_in_a_foreign_project(python: Path, project: Path) -> None:
    """Its version, a usage error that knows the shipped scenarios, and a run of the scripted agent."""
    command = [str(python), str(python.parent / "turngap")]  # its first line names the interpreter that installed it
    assert run([*command, "--version"], project).stdout.startswith("turngap ")
    unknown = run([*command, "run", "nope"], project)
    assert unknown.returncode == 3
    assert "no scenario 'nope'; there are: " in unknown.stderr
    assert "gate" in unknown.stderr
    listed = run([*command, "weights", "list", "--json"], project)
    assert listed.returncode == 0, listed.stderr
    done = run([*command, "run", "smoke", "--profile", "scripted", "--turns", "1", "--json"], project)
    assert "ModuleNotFoundError" not in done.stderr
    (run_folder,) = (project / "results").iterdir()
    record = json.loads(done.stdout)
    assert record == json.loads((run_folder / "run.json").read_text("utf-8"))
    known = (record["run_id"], record["complete"], record["profile"])
    assert known == (run_folder.name, True, "scripted"), (record["reasons"], done.stderr)
    # A busy machine may make the calls late: then the run is INVALID.
    assert (record["verdict"], done.returncode) in {("MEASURED", 0), ("INVALID", 2)}, done.stderr
    report = run([*command, "report", run_folder.name], project)
    assert report.returncode == 0, report.stderr
    assert Path(report.stdout.strip()).is_file()


def test_the_api_is_the_installed_one(python: Path, project: Path) -> None:
    """`import turngap` from the project's folder is the wheel's package, with its documents."""
    script = "import turngap, turngap_agent; print(turngap.__file__); print(turngap.Scenario.__module__)"
    done = run([str(python), "-c", script], project)
    assert done.stdout.splitlines()[0].startswith(str(python.parent.parent)), done.stderr
    assert done.stdout.splitlines()[1] == "turngap.scenario.model"
