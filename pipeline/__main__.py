"""`python -m pipeline COMMAND`: the agent's own commands."""

from __future__ import annotations

import argparse
import sys

from pipeline import say, weights_cli
from pipeline.errors import TurngapError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline")
    subparsers = parser.add_subparsers(dest="command", required=True)
    say.add_parser(subparsers)
    weights_cli.add_parser(subparsers)
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except TurngapError as fault:
        print(f"turngap: error: {fault}", file=sys.stderr)
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main())
