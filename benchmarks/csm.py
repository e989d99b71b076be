"""Measures CSM on this machine: first audio, the time of a frame and its parts, kernels, host syncs, memory.

    python benchmarks/csm.py --weights random --device cuda --out results/gpu/

All parts are independent: a failure is recorded and the other parts continue, and the result file is written after each
part. Needs only torch, transformers and numpy.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.speech import OVER_LIMIT, add_source_folders, packages_missing

add_source_folders()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="random", help="random, real, or a checkpoint's folder")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument(
        "--modes", help="eager, graphs, compiled, separated by commas; default: all on a GPU, eager on a CPU"
    )
    parser.add_argument("--fused", default="", help="fused kernels: sampling, attention, int8, separated by commas")
    parser.add_argument(
        "--paths", help="measure faster paths beside the reference, in one process: all, or names separated by commas"
    )
    parser.add_argument("--codec-beside", action="store_true", help="the codec on a stream of its own")
    parser.add_argument("--int8-depth", action="store_true", help="the depth decoder's layers as 8-bit integers")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try the script itself")
    parser.add_argument(
        "--limit-s", type=float, default=460, help="seconds for all parts; parts after that are not measured"
    )
    parser.add_argument("--out", default="results/gpu")
    parser.add_argument("--run-id", default="", help="copied to the result, so that an older one is not taken for it")
    options = parser.parse_args(arguments)
    cuda = options.device.startswith("cuda")
    every = "graphs" if options.paths else "eager,graphs,compiled"
    options.modes = options.modes or (every if cuda else "eager")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return 0, 1 if no mode was measured, a part failed or samples differ, 2 without torch.

    A part that the time limit stopped is listed, and has not failed.
    """
    options = parse(arguments)
    if packages_missing():
        return 2
    from benchmarks.speech.csm_measurement import CsmMeasurement
    from benchmarks.speech.results import format_table

    if options.paths:
        return _measure_paths(options)
    result = CsmMeasurement(options).run()
    print(format_table(result))
    print(result.get("file", ""))
    verdict, reasons = result.get("verdict"), result["failed"].values()
    failed = any(not why.startswith(OVER_LIMIT) for why in reasons)
    return 1 if failed or verdict is None or verdict["codec_differs"] else 0


def _measure_paths(options: argparse.Namespace) -> int:
    from benchmarks.speech.fast_path_measurement import PATHS, FastPathMeasurement, format_table

    wrong = [name for name in options.paths.split(",") if name not in ("all", *PATHS)]
    if wrong:
        print(f"csm: error: --paths: {wrong[0]!r}: expected all, or some of {', '.join(PATHS)}", file=sys.stderr)
        return 2
    result = FastPathMeasurement(options).run()
    print(format_table(result))
    print(result.get("file", ""))
    return 1 if any(not why.startswith(OVER_LIMIT) for why in result["failed"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
