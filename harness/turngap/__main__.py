"""The command `turngap`, and `python -m turngap`; `--version` and the agent's commands import none of the others."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from turngap.version import read_version


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    if sys.argv[1:] == ["--version"]:
        try:
            print(f"turngap {read_version()}", flush=True)
        except BrokenPipeError:  # the reader has gone: no error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    from turngap.cli.agent_commands import AGENT_COMMANDS, become_agent_command

    if sys.argv[1:2] and sys.argv[1] in AGENT_COMMANDS:
        become_agent_command(sys.argv[1], sys.argv[2:])
    from turngap.cli import app

    app.main()


if __name__ == "__main__":
    main()
