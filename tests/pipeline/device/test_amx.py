"""AMX is hidden where it is advertised and kills who uses it, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from turngap_agent.device import amx
from turngap_agent.llm.vllm import command_line
from turngap_agent.llm.vllm.settings import VllmSettings

FAKE_TORCH = {
    "__init__.py": "",
    "cpu/__init__.py": (
        "def _is_amx_tile_supported(): return True\n"
        "def _is_amx_fp16_supported(): return True\n"
        "def _init_amx(): return True\n"
    ),
}
ANSWERS = "import torch.cpu as c; print(c._is_amx_tile_supported(), c._is_amx_fp16_supported(), c._init_amx())"


@pytest.fixture
def trapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "is_trapped", lambda: True)


def write_flags(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse\n")
    return path


@pytest.mark.parametrize(
    ("flags", "survives", "trapped", "probes"),
    [("amx_bf16 amx_tile", False, True, 1), ("amx_bf16 amx_tile", True, False, 1), ("avx512f", False, False, 0)],
)
def test_a_child_finds_out_where_amx_is_advertised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, survives: bool, trapped: bool, probes: int
) -> None:
    """Once; where the flags do not name it no process is started."""
    started: list[int] = []
    monkeypatch.setattr(amx, "probe_instructions", lambda: (started.append(1), survives)[1])
    cpuinfo = write_flags(tmp_path, flags)
    assert [amx.is_trapped(cpuinfo), amx.is_trapped(cpuinfo)] == [trapped, trapped]
    assert len(started) == probes


def test_the_probe_is_right_about_this_machine() -> None:
    """A processor without AMX kills the child, or grants no tiles: that is the answer. With AMX, torch agrees."""
    if not amx.is_advertised():
        assert amx.probe_instructions() is False
    else:
        product = "import torch; a = torch.ones(64, 64, dtype=torch.bfloat16); a @ a"
        result = subprocess.run([sys.executable, "-c", product], check=False)
        assert amx.probe_instructions() is (result.returncode == 0)


@pytest.mark.parametrize(
    ("program", "survives"),
    [
        ("", True),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", False),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", False),
        ("raise SystemExit(3)", False),
        ("import a_module_that_is_nowhere", None),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None),
        ("import time; time.sleep(60)", None),
    ],
)
def test_only_a_trap_is_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, survives: bool | None
) -> None:
    """A child that failed for another reason, or did not end, says nothing of AMX, and nothing is hidden."""
    child = tmp_path / "child.py"
    child.write_text(program)
    monkeypatch.setattr(amx, "__file__", str(child))
    if "sleep" in program:
        monkeypatch.setattr(amx, "_PROBE_LIMIT_S", 0.2)
    assert amx.probe_instructions() is survives
    assert amx.is_trapped(write_flags(tmp_path, "amx_tile")) is (survives is False)


def test_a_python_that_cannot_be_started_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither trapped nor not."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert amx.probe_instructions() is None


@pytest.mark.usefixtures("trapped")
def test_every_python_of_the_environment_says_no(tmp_path: Path) -> None:
    """A child's child too, in an environment without turngap; what it had in PYTHONPATH and sitecustomize stays."""
    for name, text in FAKE_TORCH.items():
        path = tmp_path / "torch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['OWN_SITE'] = 'ran'")
    before = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment = {**before, **amx.hiding_environment(before)}
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ANSWERS!r}])"
    program += "; import os; print(os.environ['OWN_SITE'])"

    def run(env: dict[str, str]) -> list[str]:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()

    assert run(before) == ["True", "True", "True", "ran"]
    assert run(environment) == ["False", "False", "False", "ran"]


@pytest.mark.usefixtures("trapped")
def test_vllm_gets_the_variables() -> None:
    """oneDNN's limit and the folder; a limit of the profile's own stays."""
    settings = VllmSettings(engine="vllm", system_prompt="")
    environment = command_line.build_environment(settings, {})
    assert environment["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_BF16"
    assert environment["PYTHONPATH"] == str(amx.SITE)
    own = settings.model_copy(update={"environment": {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": "/mine"}})
    environment = command_line.build_environment(own, {})
    assert environment["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert environment["PYTHONPATH"] == f"{amx.SITE}{os.pathsep}/mine"


def test_where_it_does_not_trap_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose AMX works uses it."""
    monkeypatch.setattr(amx, "is_trapped", lambda: False)
    assert amx.hiding_environment({"PYTHONPATH": "/mine"}) == {}


@pytest.mark.usefixtures("trapped")
def test_this_processes_torch_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    """And oneDNN's limit is set for its first product."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    cpu = SimpleNamespace()
    amx.hide_from_torch(cpu)
    assert cpu._is_amx_tile_supported() is cpu._is_amx_fp16_supported() is cpu._init_amx() is False
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_BF16"
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
