"""Wrong arguments of a benchmark are one line and exit code 2; its help needs none of the packages that it measures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "benchmarks" / "README.md"
WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = sys.modules["transformers"] = None
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("torch", "transformers") else find_spec(name, *rest)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("pauses", "--sweep", "nowhere"),
        ("latency", "--sweep", "nowhere"),
        ("ablation", "--sweep", "nowhere"),
        ("cpu_profile", "--run", "nowhere"),
        ("conversation", "--run", "nowhere"),
        ("conversation", "--scenario", "nonsense"),
    ],
)
def test_a_missing_folder_or_scenario_is_one_line(arguments: tuple[str, ...]) -> None:
    """No traceback; the exit code is that of a usage error."""
    done = run("-m", f"benchmarks.{arguments[0]}", *arguments[1:])
    assert done.returncode == 2
    assert arguments[2] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["contention.py", "csm.py"])
def test_without_torch_help_works_and_the_error_names_the_remedy(script: str) -> None:
    """The help needs no package; a measurement says what to install."""
    file = str(ROOT / "benchmarks" / script)
    helped = run("-c", WITHOUT_TORCH, file, "--help")
    assert helped.returncode == 0
    assert "--device" in helped.stdout
    refused = run("-c", WITHOUT_TORCH, file, "--device", "cpu")
    assert (refused.returncode, refused.stderr) == (2, "torch is not installed; run: pip install '.[csm]'\n")


def test_the_list_of_benchmarks_says_how_long_they_take_as_they_do_themselves() -> None:
    """The first time that a docstring names, where both name minutes."""
    rows = re.findall(
        r"^\| `python -m benchmarks\.(\w+)[^|]*\|[^|]*\| (\d+) min", LIST.read_text("utf-8"), re.MULTILINE
    )
    told = {
        name: re.search(r"about (\d+) minutes", (ROOT / "benchmarks" / f"{name}.py").read_text("utf-8"))
        for name, _ in rows
    }
    differing = {name: (minutes, found[1]) for name, minutes in rows if (found := told[name]) and found[1] != minutes}
    assert len([found for found in told.values() if found]) > 8
    assert differing == {}
