"""`python -m turngap_agent`: the commands that need engines or weights; each one's module is imported on demand."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import NoReturn

from turngap_agent.errors import EngineError, TurngapError, UsageError, format_error

COMMANDS = {
    "serve": ("turngap_agent.server.serve", "answer calls"),
    "weights": ("turngap_agent.weights.command", "list, fetch and verify models"),
    "say": ("turngap_agent.say", "speak a text into a WAV file"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the process's exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = _Parser(prog=os.environ.get("TURNGAP_COMMAND", "python -m turngap_agent"), description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = words[0] if words else ""
    try:
        for name, (module, summary) in COMMANDS.items():
            if name == command:
                importlib.import_module(module).add_parser(commands)
            else:
                commands.add_parser(name, help=summary)
        parsed = parser.parse_args(words)
        return int(parsed.run(parsed))
    except TurngapError as error:
        print(format_error(str(error)), file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: the agent needs its extra, pip install 'turngap[cpu]'"
        print(format_error(missing), file=sys.stderr)
        return EngineError.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
