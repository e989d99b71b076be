"""Hides AMX, the matrix unit of some processors, from torch and vLLM on machines that advertise it and trap it.

Some virtual machines show AMX in the processor's flags, but kill the process that uses it (SIGILL). oneDNN, torch and
vLLM trust the flags, so products in bf16 on a CPU die. Whether it traps is found out once, by a child process that
executes a few of the instructions; where the flags do not name AMX, no process is started.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ONEDNN_LIMIT = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
"""oneDNN's name for everything below AMX (its documentation, "CPU Dispatcher Control")."""
SITE = Path(__file__).parent / "without_amx"
"""In a process's PYTHONPATH, the folder makes torch say there that it has no AMX: vLLM chooses its kernels by that."""
_FLAG = "amx_tile"
_PROBE_LIMIT_S = 20.0
_NO_PERMISSION = 3
"""Exit code of the child if the kernel grants no tile registers: oneDNN does not use AMX then, and vLLM should not."""
_TRAPPED = (-signal.SIGILL, -signal.SIGSEGV, _NO_PERMISSION)
_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18
"""Linux, x86-64: asks for the tile registers (Documentation/arch/x86/xstate.rst)."""
_INSTRUCTIONS = bytes.fromhex(
    "c4e2784907"  # ldtilecfg [rdi]
    "c4e27b49c0"  # tilezero tmm0
    "c4e27b49c8"  # tilezero tmm1
    "c4e27b49d0"  # tilezero tmm2
    "c4e26a5cc1"  # tdpbf16ps tmm0, tmm1, tmm2
    "c4e27849c0"  # tilerelease
    "c3"  # ret
)


def is_advertised(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the processor's flags name AMX."""
    try:
        return _FLAG in cpuinfo.read_text("utf-8", "replace").split()
    except OSError:
        return False


@functools.cache
def is_trapped(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether AMX is advertised and kills who uses it; a child process finds out, once."""
    return is_advertised(cpuinfo) and probe_instructions() is False


def probe_instructions() -> bool | None:
    """Return whether a child process that executes AMX instructions survives; None if it did not find out.

    Then nothing is hidden: a machine that is slow to start a process may have an AMX that works.
    """
    command = [sys.executable, "-I", __file__]  # nothing but this file: it needs no package to be importable
    try:
        result = subprocess.run(command, capture_output=True, timeout=_PROBE_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if result.returncode == 0:
        return True
    return False if result.returncode in _TRAPPED else None


def execute_instructions() -> None:
    """Multiply two tiles of zeros, in bf16; without AMX this kills the process. Runs in the child."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA):
        sys.exit(_NO_PERMISSION)
    configuration = bytearray(64)
    configuration[0] = 1  # palette 1: eight tiles
    for tile in range(3):
        configuration[16 + 2 * tile] = 64  # bytes a row
        configuration[48 + tile] = 16  # rows
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_INSTRUCTIONS)
    multiply = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    multiply(bytes(configuration))
    # The page still has an exported pointer: leave without closing it.
    os._exit(0)


def hiding_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that hide AMX from a child process with `environment`; none where it does not trap.

    A limit that `environment` already sets for oneDNN stays.
    """
    if not is_trapped():
        return {}
    paths = [str(SITE), *filter(None, [environment.get("PYTHONPATH")])]
    return {**ONEDNN_LIMIT, "PYTHONPATH": os.pathsep.join(paths)} | {
        name: environment[name] for name in ONEDNN_LIMIT if name in environment
    }


def hide_from_torch(torch_cpu: Any) -> None:
    """Hide AMX from this process's `torch.cpu`, before its first product, where it traps."""
    if not is_trapped():
        return
    for name, value in ONEDNN_LIMIT.items():
        os.environ.setdefault(name, value)
    torch_cpu._is_amx_tile_supported = torch_cpu._is_amx_fp16_supported = torch_cpu._init_amx = lambda: False


if __name__ == "__main__":
    execute_instructions()
