"""Finds a machine's GPU, and which packages are missing for a step; standard library only."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOK_TIMEOUT_S = 120.0
"""Importing torch from a cold disk takes tens of seconds."""
_CARD = """
import json, torch
free, total = torch.cuda.mem_get_info()
print(json.dumps({"card": torch.cuda.get_device_name(), "memory_mib": total >> 20, "free_mib": free >> 20,
                  "cuda": torch.version.cuda, "torch": torch.__version__}))
"""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as programs see it."""

    name: str
    """For example "NVIDIA H200"; with --tiny the processor's architecture."""
    facts: dict[str, object]
    """Memory and the versions of driver, CUDA and torch, as far as they are known."""

    @property
    def slug(self) -> str:
        """The name for files, for example "nvidia-h200"."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def processor_card() -> Card:
    """Return this machine's processor in place of a GPU, to try the steps."""
    return Card(f"cpu {platform.machine()}", {})


def find_card() -> Card | str:
    """Return the GPU that programs use (the first of CUDA_VISIBLE_DEVICES), or why there is none, in one line."""
    driver = _nvidia_smi()
    completed = _run([sys.executable, "-c", _CARD])
    if completed.returncode == 0:
        facts = json.loads(completed.stdout.splitlines()[-1])
        return Card(facts.pop("card"), {**facts, **({"driver": driver[1]} if driver else {})})
    why = last_line(completed.stderr)
    if driver is not None:
        name, version = driver
        return Card(name, {"driver": version, "torch_says": why})
    return (
        f"no usable NVIDIA GPU (nvidia-smi finds none, and torch reports: {why}); install its driver and torch, or try "
        "the steps on the processor with --tiny"
    )


def missing(modules: Sequence[str]) -> str | None:
    """Return the error of the first of `modules` that a new interpreter can't import; None if it can import all."""
    completed = _run([sys.executable, "-c", "; ".join(f"import {name}" for name in modules)])
    return None if completed.returncode == 0 else last_line(completed.stderr)


def has_vllm() -> bool:
    """Return whether profile `weightless` can start its language model: it needs vLLM's command and httpx."""
    return shutil.which("vllm") is not None and missing(["httpx"]) is None


def source_environment() -> dict[str, str]:
    """Return this process's environment, with which Python finds this source tree's project, installed or not."""
    folders = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    path = os.pathsep.join([*folders, str(ROOT / "harness"), str(ROOT / "pipeline")])
    return {**os.environ, "PYTHONPATH": path}


def last_line(text: str) -> str:
    """Return the last line that is not empty: programs print their error there."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")


def _nvidia_smi() -> tuple[str, str] | None:
    """Return name and driver version of the first GPU."""
    if shutil.which("nvidia-smi") is None:
        return None
    completed = _run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    name, comma, version = completed.stdout.partition("\n")[0].partition(",")
    return (name.strip(), version.strip()) if completed.returncode == 0 and comma else None


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=source_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LOOK_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {LOOK_TIMEOUT_S:g} s")
