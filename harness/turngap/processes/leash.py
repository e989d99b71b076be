"""Runs a command on a leash: it ends when the process that started it ends, even by `kill -9`.

`python -m turngap.processes.leash PARENT_PID NICE CPUS COMMAND...` sets a parent-death signal (Linux), the CPUs and the
niceness, and becomes the command. A program of its own, because the code between fork and exec of a threaded process
must be C.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def hold(parent_pid: int) -> None:
    """Ask the kernel for SIGTERM at the parent's death; elsewhere than on Linux, do nothing.

    Exits at once if the parent is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent_pid:
            sys.exit(1)


def main(arguments: list[str]) -> None:
    """Become the command in `arguments[3:]`."""
    parent_pid, nice, cpus, *command = arguments
    hold(int(parent_pid))
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    os.setpriority(os.PRIO_PROCESS, 0, int(nice))
    try:
        os.execvp(command[0], command)
    except OSError as fault:
        print(f"{command[0]}: {fault.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
