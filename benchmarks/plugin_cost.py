"""Measures what the pytest plugin costs a session that does not use it.

    python -m benchmarks.plugin_cost [--rounds 15] [--json]        half a minute

Each round starts pytest twice in an empty project, with the plugin and with `-p no:turngap`, in turn; the cost is the
difference of the medians of the processor time that the two took. The import alone is timed too.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.promises import Promise, check_at_most, make_parser, print_result

LIMIT_MS = 10.0
TEST = "def test_nothing() -> None:\n    pass\n"
IMPORT = """
import pytest, time
begin = time.process_time()
import turngap.pytest_plugin.plugin
print(1e3 * (time.process_time() - begin))
"""


def session_ms(folder: Path, *arguments: str) -> float:
    """Return the processor time of one pytest session, in ms; other processes do not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def import_ms() -> float:
    """Return the processor time of importing the plugin after pytest, in ms."""
    process = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(process.stdout)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if a promise does not hold."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pytest sessions of each kind")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_nothing.py").write_text(TEST, "utf-8")
        session_ms(folder), session_ms(folder, "-p", "no:turngap")  # the first of a kind writes byte code
        pairs = [(session_ms(folder), session_ms(folder, "-p", "no:turngap")) for _ in range(options.rounds)]
    with_ms, without_ms = (statistics.median(times) for times in zip(*pairs, strict=True))
    imported_ms = statistics.median(import_ms() for _ in range(options.rounds))
    rows = [
        check_at_most("the plugin's cost to a session <= 10 ms", with_ms - without_ms, LIMIT_MS),
        check_at_most("its import <= 10 ms", imported_ms, LIMIT_MS),
        Promise("a session without it", f"{without_ms:.0f} ms", without_ms, holds=None),
    ]
    return print_result("pytest plugin", rows, {"rounds": options.rounds}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
