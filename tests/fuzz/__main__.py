"""Fuzzes all readers for a time: `python -m tests.fuzz [--only NAME] [--seconds 20] [--guided]`.

Exit code 1 with findings. With `--guided` atheris (the dependency group `fuzz`) chooses inputs by the code that they
reach; otherwise they are mutations of valid ones, reproducible by `--seed`.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.mutation import mutate
from tests.fuzz.target import Target, find_fault
from tests.fuzz.targets import TARGETS

MOST_GROWTH_MIB = 400
_ADDRESS_SPACE = 12 << 30
"""An input that takes all memory ends in a MemoryError, not with the machine."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=sorted(TARGETS), action="append", help="a target; repeatable")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each target (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    parser.add_argument("--save", type=Path, help="folder for the inputs of findings")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    table = Table("target", "examples", "refused", "slowest, ms", "growth, MiB", "findings")
    bad = False
    for name in options.only or TARGETS:
        target = TARGETS[name]
        if options.guided:
            found = run_guided(target, options.seconds, options.save)
            row = ["", "", "", "", str(len(found))]
        else:
            row, found = run_target(target, options.seconds, options.seed, options.save)
        table.add_row(name, *row)
        for text in found:
            print(f"{name}: {text}", flush=True)
        bad = bad or bool(found)
    Console(width=120).print(table)
    return 1 if bad else 0


def run_target(target: Target, seconds: float, seed: int, save: Path | None) -> tuple[list[str], list[str]]:
    """Return the cells of a row, and findings, one of each kind."""
    seeds = target.seeds()
    kinds: dict[str, str] = {}
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end_s, count, refused, slowest_s = time.monotonic() + seconds, 0, 0, 0.0
    while time.monotonic() < end_s:
        chance = random.Random(f"{target.name}:{seed}:{count}")
        data = mutate(seeds, target.form, chance) if count >= len(seeds) else seeds[count]
        started_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="turngap-fuzz-") as folder:
            fault, was_refused = find_fault(target, data, Path(folder))
        slowest_s = max(slowest_s, time.monotonic() - started_s)
        if count < len(seeds) and was_refused:
            fault = fault or "a valid input was refused"
        refused += was_refused
        kind = fault.rpartition("(")[2] or fault[:60]
        if fault and kind not in kinds:
            kinds[kind] = f"example {seed}:{count}: {fault}"
            if save is not None:
                save.mkdir(parents=True, exist_ok=True)
                (save / f"{target.name}-{seed}-{count}").write_bytes(data)
        count += 1
    growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    if growth_mib > MOST_GROWTH_MIB:
        kinds["memory"] = f"memory grew by {growth_mib:.0f} MiB"
    cells = [f"{count:,}", f"{refused:,}", f"{1000 * slowest_s:.0f}", f"{growth_mib:.0f}", str(len(kinds))]
    return cells, list(kinds.values())


def run_guided(target: Target, seconds: float, save: Path | None) -> list[str]:
    """Let atheris run in a process of its own; return its finding, if there is one: it stops at the first."""
    with tempfile.TemporaryDirectory(prefix="turngap-fuzz-") as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(target.seeds()):
            (corpus / str(number)).write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(corpus)]
        limits = [f"-max_total_time={seconds:.0f}", "-timeout=25", "-rss_limit_mb=4096", f"-artifact_prefix={folder}/"]
        done = subprocess.run([*command, *limits], capture_output=True, text=True, check=False)
        lines = [line for line in done.stderr.splitlines() if "FuzzFault" in line or "ERROR: " in line]
        runs = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
        print(f"{target.name}: {runs[-1] if runs else done.stderr[-300:]}", flush=True)
        if done.returncode == 0:
            return []
        for found in Path(folder).glob("*-*") if save is not None else ():
            assert save is not None
            save.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, save / f"{target.name}-{found.name}")
        return [lines[0] if lines else done.stderr[-500:]]


if __name__ == "__main__":
    sys.exit(main())
