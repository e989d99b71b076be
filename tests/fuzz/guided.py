"""One target fuzzed by coverage: `python -m tests.fuzz.guided NAME CORPUS [libFuzzer's options]`; needs atheris."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["turngap", "turngap_agent"]):
    from tests.fuzz.target import find_fault
    from tests.fuzz.targets import TARGETS


class FuzzFault(Exception):  # noqa: N818  # found in libFuzzer's output by this name
    """What `find_fault` found."""


def main() -> None:
    target = TARGETS[sys.argv.pop(1)]

    def check(data: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="turngap-fuzz-") as folder:
            fault, _ = find_fault(target, data, Path(folder))
        if fault:
            raise FuzzFault(fault)

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
