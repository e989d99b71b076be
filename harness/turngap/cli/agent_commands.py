"""The agent's own commands: this process becomes theirs, as engines share no interpreter with the instrument."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from turngap.processes import child

AGENT_COMMANDS = ("serve", "weights", "say")


def become_agent_command(name: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the agent's command."""
    sys.stdout.flush()
    command = child.python_command("turngap_agent", name, *arguments)
    os.execve(command[0], command, dict(os.environ) | {"TURNGAP_COMMAND": "turngap"})
