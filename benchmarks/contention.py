"""Measures CSM's frame time alone, and while a language model on the same GPU prefills or decodes.

    python benchmarks/contention.py --device cuda --out results/gpu/

The language model is Gemma's loop with random weights, in three placements: in a thread beside CSM (streams with
priorities), in its own process (the two share the GPU by time), and in its own process under MPS, which is measured
first. Needs torch, transformers and numpy; under MPS also the agent's own packages and the daemon.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.speech import add_source_folders, packages_missing

add_source_folders()
PLACES = ("mps", "process", "thread")
"""In the order of their worth: MPS with priorities is how production runs."""
MODES = ("eager", "graphs", "compiled")


def format_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return all placements as text: milliseconds, and multiples of the time alone."""
    lines = [f"{'language model':<16}{'frame':<10}{'median':>9}{'p95':>9}{'times':>8}{'p95':>7}"]
    for place, result in results.items():
        frames = result.get("frame_ms", {})
        for name in (name for name in ("alone", "prefill", "decode") if name in frames):
            times = {"alone": {"p50": 1.0, "p95": 1.0}, **frames.get("times_alone", {})}.get(name)
            compared = f"{times['p50']:8.2f}{times['p95']:7.2f}" if times and "alone" in frames else ""
            lines.append(f"{place:<16}{name:<10}{frames[name]['p50']:9.2f}{frames[name]['p95']:9.2f}{compared}")
        lines += [f"{place:<16}FAILED {part}: {why}" for part, why in result.get("failed", {}).items()]
    return "\n".join(lines)


def measure_placement(options: argparse.Namespace, place: str) -> dict[str, Any]:
    """Measure one placement in its own process: a CUDA context joins MPS when it is created, or never."""
    from turngap_agent.errors import TurngapError

    try:
        if place == "mps":
            return asyncio.run(_under_mps(options))
        return _without_mps(options, place)
    except TurngapError as fault:
        return {"failed": {"mps": str(fault)}}


def _without_mps(options: argparse.Namespace, place: str) -> dict[str, Any]:
    if options.device == "cpu":
        return _run_child(options, place, os.environ, {})
    from turngap_agent.gpu import mps
    from turngap_agent.gpu.choice import choose

    kept_off = mps.keep_off_machine_mps()  # a daemon of the machine would be joined unasked
    try:
        return _run_child(options, place, {**os.environ, **choose().environment, **kept_off}, {})
    finally:
        for folder in kept_off.values():
            Path(folder).rmdir()


async def _under_mps(options: argparse.Namespace) -> dict[str, Any]:
    from turngap_agent.gpu.choice import choose
    from turngap_agent.gpu.mps import Mps
    from turngap_agent.profile.sections import GpuSettings

    daemon = await Mps.start(choose(), GpuSettings(mps=True, llm_active_thread_pct=options.llm_active_thread_pct))
    try:
        own = {**os.environ, **daemon.environment}
        return await asyncio.to_thread(_run_child, options, "mps", own, daemon.llm_environment)
    finally:
        await daemon.stop()


def _run_child(
    options: argparse.Namespace, place: str, environment: Mapping[str, str], llm: Mapping[str, str]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--place", place, "--llm-environment", json.dumps(dict(llm))]
        command += ["--device", options.device, "--mode", options.mode, "--weights", options.weights]
        command += ["--limit-s", str(options.limit_s), "--out", folder, *(["--tiny"] if options.tiny else [])]
        process = subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=False)
        files = list(Path(folder).glob("*.json"))
        if not files:
            return {"failed": {"process": f"it ended with code {process.returncode} and no result; its error is above"}}
        result: dict[str, Any] = json.loads(files[0].read_text("utf-8"))
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / files[0].name).write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return result


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--places", default=",".join(PLACES), help="placements, separated by commas")
    parser.add_argument("--mode", choices=MODES, help="CSM's mode; default: graphs on a GPU, eager on a CPU")
    parser.add_argument("--weights", default="random", help="CSM's weights: random, real, or a checkpoint's folder")
    parser.add_argument(
        "--llm-active-thread-pct", type=int, help="share of the GPU's threads for the language model under MPS"
    )
    parser.add_argument("--tiny", action="store_true", help="use tiny models, to try the script")
    parser.add_argument("--limit-s", type=float, default=240, help="seconds per placement")
    parser.add_argument("--out", default="results/gpu")
    parser.add_argument("--place", choices=PLACES, help=argparse.SUPPRESS)
    parser.add_argument("--llm-environment", default="{}", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.dtype = "auto"
    options.mode = options.mode or ("graphs" if options.device.startswith("cuda") else "eager")
    wrong = [place for place in options.places.split(",") if place not in PLACES]
    if wrong:
        parser.error(f"--places: {wrong[0]!r}: expected some of {', '.join(PLACES)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure every placement and print the table; return 0 if all have a result, 1 if one failed, 2 without torch."""
    options = parse(arguments)
    if packages_missing():
        return 2
    if options.place:
        from benchmarks.speech.contention_measurement import ContentionMeasurement

        return 1 if ContentionMeasurement(options).run()["failed"] else 0
    results = {place: measure_placement(options, place) for place in options.places.split(",")}
    print(format_table(results))
    return 1 if any(result["failed"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
