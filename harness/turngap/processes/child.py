"""Child processes: started from any folder, not affected by Ctrl-C, and ended with the instrument."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from typing import IO, Any

from turngap_agent.errors import HarnessError

from turngap.caller.priority import OWN_NICE

_CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""The CPUs that the instrument may use, before a caller pins itself to some."""
HELLO_TIMEOUT_S = 30.0
"""Time limit for a child's first line; a sleeping GPU takes seconds to wake."""
LINE_LIMIT = 1 << 24
"""Longest line read from a child, bytes."""


_SECRET = re.compile(r"TOKEN|SECRET|PASSW(OR)?D|CREDENTIAL|(API|ACCESS|AUTH|PRIVATE)_?KEY|^TWILIO_", re.IGNORECASE)
"""Names of variables that hold secrets, by all conventions that we know of."""


def plain_environment(*, fetches: bool = False) -> dict[str, str]:
    """Return our environment without secrets; a child that `fetches` models keeps those of the hub (`HF_…`)."""
    return {
        name: value
        for name, value in os.environ.items()
        if _SECRET.search(name) is None or (fetches and name.startswith("HF_"))
    }


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module. `-P`: a `queue.py` in the current folder must not be imported."""
    return [sys.executable, "-P", "-m", module, *arguments]


def leashed(command: list[str], *, nice: int = 0) -> list[str]:
    """Return the command that runs `command` and ends with this process; `nice` counts from the user's niceness.

    Start it from the main thread: the death of the thread that started a child counts as its parent's death.
    """
    cpus = ",".join(str(cpu) for cpu in sorted(_CPUS))
    placement = ["--nice", str(min(19, OWN_NICE + nice)), "--cpus", cpus]
    return [*python_command("turngap_agent.leash", *placement, str(os.getpid())), *command]


async def start_child(
    command: list[str], *, stderr: IO[bytes] | None, env: dict[str, str] | None = None, nice: int = 0
) -> asyncio.subprocess.Process:
    """Start `command`, leashed, in a session of its own with pipes at stdin and stdout.

    `env` is by default ours without secrets.
    """
    return await asyncio.create_subprocess_exec(
        *leashed(command, nice=nice),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=plain_environment() if env is None else env,
        start_new_session=True,
        limit=LINE_LIMIT,
    )


async def read_hello(process: asyncio.subprocess.Process, who: str) -> dict[str, Any]:
    """Return the JSON object in a child's first line; `who` names the child in messages. A faulty child is stopped.

    Raises:
        HarnessError: no line came in time, or it is not a JSON object.
    """
    assert process.stdout is not None
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            line = await process.stdout.readline()
        message = json.loads(line) if line else None
    except TimeoutError:
        reason = f"it printed nothing for {HELLO_TIMEOUT_S:g} s; is the machine overloaded?"
    except ValueError:
        reason = "its first line is not JSON; see the lines above"
    else:
        if isinstance(message, dict):
            return message
        reason = "see the lines above"
    await stop_child(process, grace_s=1.0)
    raise HarnessError(f"{who} did not start: {reason}")


async def stop_child(process: asyncio.subprocess.Process, *, grace_s: float) -> int:
    """Stop it: SIGTERM, after `grace_s` SIGKILL, which its children get too. Return its exit status."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return await process.wait()
