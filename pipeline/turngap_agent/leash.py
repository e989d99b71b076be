"""Runs a command on a leash: it is told to end when the agent ends, even by `kill -9`.

`python -m turngap_agent.leash PARENT_PID COMMAND...` sets a parent-death signal (Linux) and becomes the command. A
program of its own, because the code between fork and exec of a threaded process must be C.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def main(arguments: list[str]) -> None:
    """Become the command in `arguments[1:]`; ends at once if the parent is gone already."""
    parent_pid, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(parent_pid):
            sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as fault:
        print(f"{command[0]}: {fault.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
