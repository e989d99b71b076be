"""Finds how many two-way calls one core carries at a lateness of 10 ms and of 5 ms, beside what the kernel takes.

    python -m benchmarks.callers [--quick] [--json]                  about 6 minutes; --quick: 1 minute
    python -m benchmarks.callers --against FOLDER                    about 2 minutes

The callers' process is bound to one core and a bare peer (`echo_peer.py`) to another: it answers each of the callers'
messages at once with one of its own, encoded beforehand. So each call is 50 messages a second in both directions. A
trial holds so many calls for some seconds once all are under way. A number of calls holds a bound if the 99th
percentile of its frames' lateness is within it in two trials of three; the largest number is bracketed to within 6 %.
Beside it: the time from a frame's leaving until its answer was read (the peer's and the kernel's time, and the caller's
own lateness in reading), the load of both cores, and what the same messages cost in a bare loop, the kernel's floor.
`--against` compares what a message each way costs with another version's source, in pairs of trials.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turngap.clock import SystemClock
from turngap_agent.errors import HarnessError, UsageError

from benchmarks.promises import (
    Promise,
    check_at_most,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)

ROOT = Path(__file__).resolve().parent.parent
BAR, AIM = 200, 400
BOUNDS_MS = (10.0, 5.0)
FIRST, FACTOR, WITHIN = 200, 1.5, 1.06
MOST = 2000
LONGEST_S = 300.0
"""No further trial is begun after so long."""
QUICK_S, SECONDS = 2.5, 4.0
LEAST_SENT = 0.99
"""A trial in which fewer frames were sent is one in which calls ended."""
PAIR_CALLS, PAIRS, WORK_PAIRS = 60, 4, 6
Trial = dict[str, Any]


@dataclass(slots=True)
class Bench:
    """A peer, and the trials with it."""

    url: str
    peer_pid: int
    cpus: tuple[int, int]
    seconds: float
    trials: dict[int, list[Trial]] = field(default_factory=dict)

    def try_calls(self, calls: int, *, source: Path = ROOT) -> Trial:
        """Hold so many calls with the version in the folder `source`."""
        trial = self._run(["--calls", str(calls), "--seconds", str(self.seconds)], source)
        print_progress(describe(trial))
        return trial

    def measure_floor(self, calls: int, seconds: float = 2.0) -> float:
        """Return what a message each way costs in a bare loop, µs."""
        return float(self._run(["--calls", str(calls), "--seconds", str(seconds), "--bare"], ROOT)["us_a_pair"])

    def late_ms(self, calls: int, trials: int) -> list[float]:
        """Return the 99th percentile of the lateness in at least so many trials."""
        known = self.trials.setdefault(calls, [])
        while len(known) < trials:
            known.append(self.try_calls(calls))
        return [p99_ms(trial) for trial in known]

    def holds(self, calls: int, bound_ms: float) -> bool:
        """Return whether two trials of three hold the bound."""
        late = self.late_ms(calls, 2)
        if (late[0] <= bound_ms) == (late[1] <= bound_ms):
            return late[0] <= bound_ms
        return sorted(self.late_ms(calls, 3)[:3])[1] <= bound_ms

    def _run(self, options: Sequence[str], source: Path) -> Trial:
        own = ["--url", self.url, "--cpu", str(self.cpus[0]), "--peer-pid", str(self.peer_pid)]
        return run_script("callers_process.py", [*own, *options], source)


def run_script(script: str, options: Sequence[str], source: Path) -> dict[str, Any]:
    """Return what a script of this folder prints that runs the version in the folder `source`.

    Raises:
        HarnessError: it failed.
    """
    command = [sys.executable, "-P", str(ROOT / "benchmarks" / script), *options]
    paths = os.pathsep.join(str(source / folder) for folder in ("harness", "pipeline"))
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise HarnessError(f"{script} failed with exit code {done.returncode}; see the lines above")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def p99_ms(trial: Trial) -> float:
    """Return the 99th percentile of a trial's lateness; infinite if calls ended early."""
    late = float(trial["late_ms"]["p99"])
    return math.inf if trial["sent_share"] < LEAST_SENT or trial["ended_early"] else late


@contextmanager
def running_bench(cpus: tuple[int, int], seconds: float) -> Iterator[Bench]:
    """Start the peer, and end it."""
    command = [sys.executable, "-P", str(ROOT / "benchmarks" / "echo_peer.py"), "--cpu", str(cpus[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        assert peer.stdin is not None
        try:
            port = peer.stdout.readline().strip()
            if not port:
                raise HarnessError("the peer did not start; see the lines above")
            yield Bench(f"ws://127.0.0.1:{port}/twilio/media", peer.pid, cpus, seconds)
        finally:
            peer.stdin.close()


def find_most(bench: Bench, bound_ms: float, clock: SystemClock, until_ns: int) -> tuple[int, int | None]:
    """Return the largest number of calls that held the bound, and the smallest that did not (None: not reached)."""
    low, high, calls = 0, None, FIRST
    while clock.now_ns() < until_ns and (high is None or high > low * WITHIN) and calls >= 2:
        if bench.holds(calls, bound_ms):
            low = calls
        else:
            high = calls
        if high is None:
            calls = round(low * FACTOR)
            if calls > MOST:
                break
        else:
            calls = round(math.sqrt(low * high)) if low else round(high / FACTOR)
    return low, high


def describe(trial: Trial) -> str:
    """Return a trial in one line."""
    late, back, shares = trial["late_ms"], trial["there_and_back_ms"], trial["shares"]
    return (
        f"{trial['calls']:>5} calls: late {late['p50']:.2f} / {late['p99']:.2f} / {late['max']:.1f} ms, "
        f"answer read after {back['p50']:.2f} / {back['p99']:.2f} / {back['max']:.1f} ms (p50 / p99 / max); "
        f"caller {shares['caller without spinning']:.0%} of its core and {shares['spun']:.0%} spinning, "
        f"peer {shares['peer']:.0%}" + (f"; ended early: {trial['ended_early'][0]}" if trial["ended_early"] else "")
    )


def print_trials(trials: Sequence[Trial], cpus: tuple[int, int], *, as_json: bool) -> None:
    """Print all trials as a table."""
    rows = [
        [
            str(trial["calls"]),
            *(f"{trial[key][name]:.2f}" for key in ("late_ms", "there_and_back_ms") for name in ("p50", "p99", "max")),
            f"{trial['shares']['caller without spinning']:.0%}",
            f"{trial['shares']['peer']:.0%}",
            " / ".join(f"{trial['shares'][f'core {cpu}']:.0%}" for cpu in cpus),
        ]
        for trial in trials
    ]
    columns = ["calls", "late p50", "p99", "max", "answer p50", "p99", "max", "caller", "peer", "cores busy"]
    print_table("trials (ms; shares of a core, the caller's without its spinning)", columns, rows, as_json=as_json)


def measure_pairs(bench: Bench, other: Path, calls: int) -> tuple[list[Promise], dict[str, Any]]:
    """Return what a message each way costs in this version and in the other one, in pairs."""

    def measure_work(source: Path) -> float:
        work = run_script("callers_work.py", [], source)
        return float(work["send_us"] + work["read_us"])

    def measure_cost(source: Path) -> float:
        return float(bench.try_calls(calls, source=source)["shares"]["caller without spinning"] * 1e6 / (calls * 50))

    rows: list[Promise] = []
    details: dict[str, Any] = {}
    for name, measure_one, pairs in (
        ("the caller's own work for a message each way", measure_work, WORK_PAIRS),
        (f"with event loop and kernel, {calls} calls", measure_cost, PAIRS),
    ):
        costs: dict[str, list[float]] = {"this": [], "other": []}
        for pair in range(pairs):
            for which in ("this", "other") if pair % 2 else ("other", "this"):
                costs[which].append(measure_one(ROOT if which == "this" else other))
        ratios = [theirs / ours for ours, theirs in zip(costs["this"], costs["other"], strict=True)]
        ratio, own, theirs = (statistics.median(values) for values in (ratios, costs["this"], costs["other"]))
        rows.append(
            Promise(f"{name}, the other version and this one", f"{theirs:.1f} and {own:.1f} µs", own, holds=None)
        )
        figure = f"{ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        rows.append(Promise(f"their ratio, {pairs} pairs", figure, ratio, holds=ratio > 1))
        details[name] = {"us": costs, "ratios": ratios}
    floor = bench.measure_floor(calls)
    rows.append(Promise("the same messages in a bare loop", f"{floor:.1f} µs", floor, holds=None))
    return rows, details | {"floor_us": floor}


def measure(bench: Bench, *, quick: bool, as_json: bool) -> tuple[list[Promise], dict[str, Any]]:
    """Return the promises and all trials."""
    clock = SystemClock()
    until_ns = clock.now_ns() + round(LONGEST_S * 1e9)
    floor = bench.measure_floor(BAR)
    at_bar = statistics.median(bench.late_ms(BAR, 1 if quick else 3))
    at_aim = statistics.median(bench.late_ms(AIM, 1 if quick else 2))
    rows = [
        check_at_most(f"{BAR} two-way calls from one core, lateness p99 <= {BOUNDS_MS[0]:g} ms", at_bar, BOUNDS_MS[0]),
        Promise(f"{AIM} (the aim): lateness p99", f"{at_aim:.2f} ms", at_aim, holds=None),
    ]
    most: dict[str, Any] = {}
    for bound_ms in () if quick else BOUNDS_MS:
        low, high = find_most(bench, bound_ms, clock, until_ns)
        most[f"{bound_ms:g}"] = {"holds": low, "fails": high}
        figure = f"{low}" + (f" ({high} do not)" if high is not None else " or more")
        rows.append(Promise(f"most calls with p99 <= {bound_ms:g} ms", figure, low, holds=None))
    share = floor * BAR * 50 / 1e6
    rows.append(
        Promise("a message each way in a bare loop", f"{floor:.1f} µs: {share:.0%} at {BAR}", floor, holds=None)
    )
    trials = [trial for calls in sorted(bench.trials) for trial in bench.trials[calls]]
    print_trials(trials, bench.cpus, as_json=as_json)
    return rows, {"trials": trials, "most": most, "floor_us": floor}


def read_cpus(text: str | None) -> tuple[int, int]:
    """Return the CPUs of the callers and of the peer.

    Raises:
        UsageError: there are not two.
    """
    own = sorted(os.sched_getaffinity(0))
    names = text.split(",") if text else [str(cpu) for cpu in own[:2]]
    if len(names) != 2 or not all(name.strip().isdigit() and int(name) in own for name in names):
        raise UsageError(f"--cpus {text or ''}: two of the CPUs {own}: one for the callers, one for the peer")
    return int(names[0]), int(names[1])


def main() -> int:
    """Print the table; return 1 if a promise does not hold."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help=f"one trial with {BAR} calls and one with {AIM}")
    parser.add_argument("--cpus", metavar="A,B", help="the CPUs of the callers and of the peer")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another version's source, to compare with")
    parser.add_argument("--calls", type=int, default=PAIR_CALLS, help=f"with --against: at once (default {PAIR_CALLS})")
    options = parser.parse_args()
    if options.against is not None and not (options.against / "harness" / "turngap").is_dir():
        raise UsageError(f"--against {options.against}: it has no harness/turngap")
    if options.calls < 1:
        raise UsageError(f"--calls {options.calls}: at least 1")
    with running_bench(read_cpus(options.cpus), QUICK_S if options.quick else SECONDS) as bench:
        if options.against is not None:
            rows, details = measure_pairs(bench, options.against.resolve(), options.calls)
        else:
            rows, details = measure(bench, quick=options.quick, as_json=options.json)
    return print_result("callers", rows, details, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
