"""Describes the machine of a run before it starts: hardware, kernel, Python, packages, load and timer."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from turngap.clock import NS_PER_MS, Clock

PACKAGES = (
    "ctranslate2",
    "faster-whisper",
    "hibari-tts",
    "librosa",
    "numpy",
    "onnxruntime",
    "opentelemetry-sdk",
    "scipy",
    "torch",
    "transformers",
    "turngap",
    "vllm",
    "websockets",
)
"""Packages that can affect a latency."""
_TIMER_ROUNDS = 100


def describe_machine() -> dict[str, Any]:
    """Return the machine and the installed packages as plain JSON values."""
    memory = psutil.virtual_memory()
    load = [round(value, 2) for value in os.getloadavg()]
    cores = count_cores()
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "kernel": platform.release(),
        "cpu": read_cpu_model(),
        "cores": cores,
        "cores_total": os.cpu_count(),
        "memory_mib": round(memory.total / (1 << 20)),
        "memory_available_mib": round(memory.available / (1 << 20)),
        "python": platform.python_version(),
        "packages": {name: number for name in PACKAGES if (number := installed_version(name)) is not None},
        "load_before": load,
        "load_before_per_core": round(load[0] / max(1, cores or 1), 3),
    }


async def measure_timer_late_p99_ms(clock: Clock) -> float:
    """Return how late 3 ms waits (sleep, then spin) end on this machine: the 99th percentile of a hundred, ms."""
    late_ns = []
    for _ in range(_TIMER_ROUNDS):
        deadline_ns = clock.now_ns() + 3 * NS_PER_MS
        await clock.sleep_until_ns(deadline_ns)
        late_ns.append(clock.now_ns() - deadline_ns)
    return float(np.percentile(late_ns, 99)) / NS_PER_MS


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name from the kernel, else from the platform module."""
    try:
        match = re.search(r"^(?:model name|Hardware|cpu model)\s*:\s*(.+)$", cpuinfo.read_text("utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def installed_version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except PackageNotFoundError:
        return None
