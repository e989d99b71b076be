"""What a GPU machine has: its card, and which of the packages that each step needs; standard library only."""

from __future__ import annotations

import json
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
    """A GPU as its programs see it."""

    name: str
    """"NVIDIA H200"; the processor's architecture where there is no GPU and none was asked for."""
    facts: dict[str, object]
    """What else is known: memory, driver, CUDA, torch."""

    @property
    def slug(self) -> str:
        """The name as files have it, "nvidia-h200"."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def processor() -> Card:
    """This machine's processor in a card's place, to try the orchestration."""
    return Card(f"cpu {platform.machine()}", {})


def card() -> Card | str:
    """The GPU that programs here use (the first of CUDA_VISIBLE_DEVICES), or why there is none: one line."""
    driver = _nvidia_smi()
    told = _said([sys.executable, "-c", _CARD])
    if told.returncode == 0:
        facts = json.loads(told.stdout.splitlines()[-1])
        return Card(facts.pop("card"), {**facts, **({"driver": driver[1]} if driver else {})})
    why = last_line(told.stderr)
    if driver is not None:
        name, version = driver
        return Card(name, {"driver": version, "torch_says": why})
    return (
        f"no NVIDIA GPU can be used here (nvidia-smi finds none, and torch says: {why}); install its driver and torch, "
        "or try the steps on a processor with --tiny"
    )


def missing(modules: Sequence[str]) -> str | None:
    """The first of `modules` that can't be imported, and why, by an interpreter of its own; None where all can."""
    told = _said([sys.executable, "-c", "; ".join(f"import {name}" for name in modules)])
    return None if told.returncode == 0 else last_line(told.stderr)


def has_vllm() -> bool:
    """Whether profile `weightless` can start its language model: vLLM's command, and the client's package."""
    return shutil.which("vllm") is not None and missing(["httpx"]) is None


def last_line(text: str) -> str:
    """The last line that holds something: where programs say what went wrong."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")


def _nvidia_smi() -> tuple[str, str] | None:
    """Name and driver of the first GPU."""
    if shutil.which("nvidia-smi") is None:
        return None
    told = _said(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    name, comma, version = told.stdout.partition("\n")[0].partition(",")
    return (name.strip(), version.strip()) if told.returncode == 0 and comma else None


def _said(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LOOK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {LOOK_TIMEOUT_S:g} s")
