"""Measures how long `turngap --version`, and `--help` of each command, take: the wait before every use.

python -m benchmarks.start_up [--repeats 5] [--json]       about 1 minute
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import typer
from turngap.cli import app

from benchmarks.promises import Promise, check_at_most, make_parser, print_result, run_main

VERSION_S, HELP_S = 0.25, 0.4


def time_command(arguments: list[str], repeats: int) -> float:
    """Return the median time in seconds of starting, answering and ending."""
    took_s = []
    for _ in range(repeats):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "turngap", *arguments], stdout=subprocess.DEVNULL, check=True)
        took_s.append(time.perf_counter() - started_s)
    return float(np.median(took_s))


def list_commands() -> list[str]:
    """Return the names of all commands."""
    return sorted(typer.main.get_group(app.app).commands)


def main() -> int:
    """Time all of them; return 0 if every promise holds."""
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    promises: list[Promise] = [
        check_at_most("turngap --version", time_command(["--version"], options.repeats), VERSION_S, "s")
    ]
    promises += [
        check_at_most(f"turngap {name} --help", time_command([name, "--help"], options.repeats), HELP_S, "s")
        for name in list_commands()
    ]
    return print_result("start-up", promises, {"repeats": options.repeats}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
