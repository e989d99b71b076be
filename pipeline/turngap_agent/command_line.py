"""How a command ends, the agent's and the instrument's: its exit code, and every error as one line on stderr.

Exit codes: 0 success, 1 a verdict of FAIL, 2 no result, 3 a usage error, 130 interrupted (the agent's commands).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO

import typer

from turngap_agent.errors import TurngapError, UsageError, format_error

INTERRUPTED = 130
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]  # typer's own copy of it, or click's: by version


def execute(app: typer.Typer, arguments: Sequence[str], name: str) -> int:
    """Run one command line of `app`, which users know as `name`, and return the exit code.

    A reader that closes the pipe early (`| head`) is no error: the exit code is then 0, unless the command has one.

    Raises:
        ModuleNotFoundError: the command needs a package that is not installed.
    """
    code: object = 0
    try:
        code = typer.main.get_command(app).main(list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except TurngapError as error:
        return print_error(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)
    except SystemExit as ending:
        if not isinstance(ending.__context__, BrokenPipeError):
            raise
        discard(sys.stdout)  # typer and rich turn a closed pipe into exit code 1, which is a verdict's
    except _ClickException as error:
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        context = getattr(error, "ctx", None)
        if not text or text.lstrip().startswith("Usage:"):  # no command was given: its help
            print(text or "", end="")
            return UsageError.exit_code
        path = context.command_path if context is not None else name
        return print_error(f"{' '.join(text.split())} See: {path} --help", UsageError.exit_code)
    return code if isinstance(code, int) else 0


def print_error(text: str, code: int) -> int:
    """Print an error as one line on stderr, if it has a message, and return its exit code."""
    if text:
        try:
            print(format_error(text), file=sys.stderr)
        except BrokenPipeError:
            discard(sys.stderr)
    return code


def discard(stream: IO[str]) -> None:
    """Discard what is written to `stream`, stdout or stderr, from now on: its reader has closed the pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
