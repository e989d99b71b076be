"""Run a command that ends when the process that started it ends, even by `kill -9`.

`python -m turngap_agent.leash [--nice N] [--cpus 0,1] PARENT_PID COMMAND...` sets a parent-death signal (Linux), the
CPUs and the niceness, and becomes the command. It is a program of its own because code that runs between fork and exec
in a threaded process must be C. The agent and the instrument both start their children with it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def main(arguments: list[str]) -> None:
    """Become the command; exit with 1 if the parent is gone already, with 127 if the command cannot be run."""
    options = {"--nice": "", "--cpus": ""}
    while arguments[0] in options:
        options[arguments[0]], arguments = arguments[1], arguments[2:]
    parent_pid, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(parent_pid):
            sys.exit(1)
    if options["--cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu) for cpu in options["--cpus"].split(",")})
    if options["--nice"]:
        os.setpriority(os.PRIO_PROCESS, 0, int(options["--nice"]))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
