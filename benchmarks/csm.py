"""Measures CSM on this machine: first audio, time a frame and where it goes, kernels, syncs, memory, and the floor.

    python benchmarks/csm.py --weights random --device cuda --out results/gpu/

Every part is independent: what fails is noted and the rest goes on, and the result file is written after each part.
Needs torch, transformers and numpy only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.speech import needs


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="random", help="random, real, or a checkpoint's folder")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--modes", help="of eager, graphs, compiled, joined by commas; all on a GPU, eager on a CPU")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try the script itself")
    parser.add_argument("--limit-s", type=float, default=460, help="seconds after which what is not measured is not")
    parser.add_argument("--out", default="results/gpu")
    options = parser.parse_args(arguments)
    options.modes = options.modes or ("graphs,eager,compiled" if options.device.startswith("cuda") else "eager")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, print; 0 if every part gave a result, 2 without torch."""
    options = parse(arguments)
    if needs.missing():
        return 2
    from benchmarks.speech.bench import Bench
    from benchmarks.speech.figures import table

    result = Bench(options).run()
    print(table(result))
    print(result.get("file", ""))
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
