"""The GitHub action: its own steps, run here by the shell that a runner uses, against the scripted agent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.tones import scenario_of_tones

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = {name: step for step in STEPS if (name := step.get("name"))}


def run_step(
    name: str, workspace: Path, variables: Mapping[str, str] = {}, /, **inputs: str
) -> subprocess.CompletedProcess[str]:
    """Run a step in `workspace` as a runner does: inputs reach the script by its `env` alone."""
    step = SCRIPTS[name]
    given = {key: str(entry["default"]) for key, entry in ACTION["inputs"].items()} | inputs
    environment = os.environ | {
        "TURNGAP_BIN": str(Path(sys.executable).parent),
        "GITHUB_STEP_SUMMARY": str(workspace / "summary.md"),
        "GITHUB_OUTPUT": str(workspace / "output"),
        "GITHUB_ENV": str(workspace / "env"),
        "RUNNER_TEMP": str(workspace / "temp"),
    }
    for key, value in step["env"].items():
        environment[key] = fill_in(value, given)
    environment |= variables
    environment.pop("PYTEST_ADDOPTS", None)
    environment.pop("PYTEST_XDIST_WORKER", None)
    (workspace / "temp").mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def fill_in(template: str, inputs: Mapping[str, str]) -> str:
    """Replace the two kinds of expressions that the steps use."""
    text = re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], template)
    return text.replace("${{ github.action_path }}", str(ROOT))


def test_every_input_that_is_used_is_declared() -> None:
    """And each declared one is used, so that none is silently ignored."""
    text = (ROOT / "action.yml").read_text("utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(ACTION["inputs"])


def test_no_input_is_pasted_into_a_script() -> None:
    """A branch named `$(rm -rf .)` must stay a name: scripts read the environment only."""
    assert len(SCRIPTS) >= 4
    assert [name for name, step in SCRIPTS.items() if "${{" in step["run"]] == []


@pytest.mark.parametrize("script", sorted((ROOT / "examples/ci").glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_shell(script: Path) -> None:
    """They parse, stop at the first error, and say what they read."""
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text("utf-8")
    assert text.startswith("# ")
    assert "\nset -euo pipefail\n" in text


def test_what_the_gate_asks_of_pytest(tmp_path: Path) -> None:
    """A scenario that ships is found by its name; an agent at a URL takes the place of the profile."""
    programs = {"pytest": 'for argument; do echo "$argument"; done', "python": f'exec {sys.executable} "$@"'}
    for name, script in programs.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    bin_folder = {"TURNGAP_BIN": str(tmp_path / "bin")}
    asked = run_step("Gate", tmp_path, bin_folder, **{"agent-url": "ws://127.0.0.1:9/media", "turns": "60"}).stdout
    arguments = asked.splitlines()
    scenario = Path(arguments[arguments.index("--benchmark") + 1])
    assert (scenario.name, scenario.is_file()) == ("gate.scenario.yaml", True)
    assert "--agent-url ws://127.0.0.1:9/media --budget sub500 --turns 60" in " ".join(arguments)
    assert "--profile" not in arguments


@pytest.mark.engines
def test_a_run_and_its_summary(tmp_path: Path) -> None:
    """Gate, summary and baseline: JUnit, Markdown, outputs, and a comparison with the run itself."""
    scenario = scenario_of_tones(tmp_path, 1, probe="true")
    gate = run_step("Gate", tmp_path, scenario=scenario.name, profile="scripted", budget="")
    assert "<testcase" in (tmp_path / "turngap-ci/junit.xml").read_text("utf-8")
    (folder,) = (tmp_path / "turngap-ci/results").glob("*/")
    summary = run_step("Summary and baseline", tmp_path, baseline=str(folder))
    assert summary.returncode == 0, summary.stdout + summary.stderr
    output = dict(line.split("=", 1) for line in (tmp_path / "output").read_text("utf-8").splitlines())
    record = json.loads((folder / "run.json").read_text("utf-8"))
    assert output["verdict"] == record["verdict"]
    # A busy machine makes the caller late; the gate then fails, as it should.
    is_measured = record["verdict"] == "MEASURED" and record["outcomes"].get("answered", 0) == 1
    assert (gate.returncode == 0) is is_measured, gate.stdout + gate.stderr
    assert (tmp_path / output["report"]).is_file()
    assert "tones" in (tmp_path / "summary.md").read_text("utf-8")
    assert "```" in (tmp_path / "summary.md").read_text("utf-8")


def test_a_job_without_a_run_says_so(tmp_path: Path) -> None:
    """The step before has failed; the summary is no second riddle."""
    summary = run_step("Summary and baseline", tmp_path)
    assert summary.returncode == 1
    assert "no run was made" in summary.stdout


def test_a_baseline_on_a_branch(tmp_path: Path) -> None:
    """The run folder is taken from the branch without checking it out; a branch that is not there fails the step."""
    remote, workspace = tmp_path / "remote", tmp_path / "workspace"
    for folder in (remote, workspace):
        folder.mkdir()
        subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
    run = workspace / "turngap-ci/results/a"
    source = next((ROOT / "tests/harness/recorded").rglob("run.json")).parent
    for place in (run, remote / "turngap-baseline"):
        place.mkdir(parents=True)
        for file in source.glob("*.json*"):
            (place / file.name).write_bytes(file.read_bytes())
    git = ["git", "-C", str(remote), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "baseline"], check=True)
    subprocess.run(["git", "-C", workspace, "remote", "add", "origin", remote], check=True)
    done = run_step("Summary and baseline", workspace, **{"baseline-branch": "main"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "```" in (workspace / "summary.md").read_text("utf-8")
    missing = run_step("Summary and baseline", workspace, **{"baseline-branch": "no-such"})
    assert missing.returncode != 0
