"""Measures what a Ray cluster of several nodes on this machine changes, and what a node that is killed costs.

    python -m benchmarks.cluster [--only same|lost|many] [--rounds 3] [--calls 1000] [--json]      about 15 minutes

Three nodes, each a raylet of its own with one caller, and one agent with scripted engines. `same`: one process and the
three nodes place the same calls in alternation, and the 95 % interval of the difference between their gaps must hold 0.
`lost`: a node is killed in the middle; the run must be complete, and the calls said to be lost those under way.
`many`: a run of so many calls is killed in the middle, and resumed; all turns must be there. Needs `turngap[cluster]`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import turngap
from turngap.clock import SystemClock
from turngap.cluster import ray_cluster
from turngap.cluster import run as cluster_run
from turngap.corpus import clips
from turngap.model.turn import TurnRecord
from turngap.processes.agent import RunningAgent, serve_command
from turngap.session import plan
from turngap.session.request import Options
from turngap.store import folder as store

from benchmarks.kills import TurngapProcess, stored_utterances, write_scenario
from benchmarks.promises import Promise, make_parser, print_progress, print_result, print_table, run_main
from benchmarks.scale_points import PROFILE
from benchmarks.side_by_side import is_answered

NODES = 3
AT_ONCE = 6
"""Simultaneous calls, over all callers."""
RESAMPLES = 4000
LONGEST_S = 900.0
PARTS = ("same", "lost", "many")


@contextmanager
def three_nodes() -> Iterator[Any]:
    """Start a cluster of three nodes on this machine; yield it.

    Raises:
        UsageError: Ray is not installed.
    """
    os.environ[ray_cluster.NICENESS] = "0"
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
    ray_cluster.import_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        for _ in range(NODES - 1):
            cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray_cluster.import_ray().shutdown()
        cluster.shutdown()


@contextmanager
def scripted_agent(folder: Path, calls: int) -> Iterator[str]:
    """Start an agent that takes so many calls, in a process that needs no event loop of ours; yield its URL."""
    profile = folder / "scripted-many.yaml"
    profile.write_text(PROFILE.format(calls=2 * calls), "utf-8")
    with asyncio.Runner() as runner:
        agent = runner.run(RunningAgent.start(serve_command(profile), log=folder / "agent.log", endpoint=None))
        try:
            yield agent.ready.url
        finally:
            runner.run(agent.stop())


def measure_same(url: str, address: str, scenario: Path, out: Path, rounds: int) -> dict[str, list[float]]:
    """Return the gaps of one process and of the nodes, in alternation; ms."""
    gaps: dict[str, list[float]] = {"one process": [], "three nodes": []}
    for round_ in range(rounds):
        names = list(gaps) if round_ % 2 == 0 else list(reversed(gaps))
        for name in names:
            ray = address if name == "three nodes" else ""
            run = turngap.run(scenario, agent=turngap.Agent.url(url), out=out, ray=ray)
            answered = (turn.turn_gap_ms for turn in run.turn_records if turn.scored and is_answered(turn))
            valid = [gap for gap in answered if gap is not None]
            gaps[name] += valid
            print_progress(
                f"round {round_ + 1}/{rounds}, {name}: {len(valid)} of {run.record.n_turns} turns, median "
                f"{np.median(valid):.1f} ms"
                if valid
                else f"{name}: no turn can be used"
            )
    return gaps


def difference_interval(base: Sequence[float], head: Sequence[float], quantile: float) -> tuple[float, float, float]:
    """Return the difference of a quantile, and its 95 % bootstrap interval (percentiles of resampled turns)."""
    rng = np.random.default_rng(1)
    one, other = np.asarray(base), np.asarray(head)

    def resample(values: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
        return np.quantile(rng.choice(values, (RESAMPLES, len(values))), quantile, axis=1)

    low, high = np.quantile(resample(other) - resample(one), [0.025, 0.975])
    return float(np.quantile(other, quantile) - np.quantile(one, quantile)), float(low), float(high)


def judge_same(gaps: dict[str, list[float]], *, as_json: bool) -> list[Promise]:
    """Return whether the gaps of nodes differ from those of one process."""
    if not all(gaps.values()):
        return [Promise("both have turns that can be compared", "no", None, holds=False)]
    rows, promises = [], []
    for name, values in gaps.items():
        p50, p95 = np.quantile(values, [0.5, 0.95])
        rows.append((name, str(len(values)), f"{p50:.2f} ms", f"{p95:.2f} ms"))
    print_table("the same calls, in alternation", ("", "turns", "median", "p95"), rows, as_json=as_json)
    for name, quantile in (("median", 0.5), ("p95", 0.95)):
        change, low, high = difference_interval(gaps["one process"], gaps["three nodes"], quantile)
        figure = f"{change:+.2f} ms ({low:+.2f} to {high:+.2f})"
        promises.append(Promise(f"{name}: the interval of the difference holds 0", figure, change, low <= 0 <= high))
    return promises


class _KillsNode:
    """A display that kills a node at its caller's second turn."""

    def __init__(self, cluster: Any, node_id: str, caller: str) -> None:
        self._cluster, self._node_id, self._caller = cluster, node_id, caller
        self._seen, self.killed_s = 0, 0.0

    def show_message(self, text: str) -> None:
        print_progress(text)

    def show_start(self, turns: int) -> None:
        print_progress(f"{turns} turns")

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None:
        if not turn.boot_id.endswith(self._caller) or self.killed_s:
            return
        self._seen += 1
        if self._seen == 2:
            worker = next(one for one in self._cluster.worker_nodes if one.node_id == self._node_id)
            self.killed_s = time.monotonic()
            self._cluster.remove_node(worker, allow_graceful=False)


def measure_lost(url: str, cluster: Any, scenario: Path, out: Path) -> list[Promise]:
    """Kill a node in the middle of a run."""
    request = plan.plan_run(scenario, url=url, options=Options(out=out, ray=cluster.address))
    with cluster_run.connect_nodes(cluster.address, request.scenario_path) as nodes:
        victim = next(node for node in nodes if node.node_id != cluster.head_node.node_id)
        caller = f"caller {nodes.index(victim) + 1}"
        display = _KillsNode(cluster, victim.node_id, caller)
        corpus = clips.build_corpus(request.scenario, print_progress)
        finished = asyncio.run(
            cluster_run.run_request(
                plan.with_corpus(replace(request), corpus),
                corpus,
                nodes,
                display,
                clock=SystemClock(),
                stop=asyncio.Event(),
            )
        )
    record = store.read_run(finished.folder.path).record
    lost = [one for one in record.callers if one.lost]
    costs = len(lost[0].lost_calls) if lost else None
    share = AT_ONCE // NODES
    return [
        Promise("one caller is said to be lost", f"{len(lost)}", len(lost), len(lost) == 1),
        Promise(
            f"calls lost: at most the {share} that it had under way",
            "–" if costs is None else f"{costs}",
            costs,
            costs is not None and costs <= share,
        ),
        Promise(
            "the run is complete",
            f"{record.n_turns} of {record.planned_turns} turns",
            record.n_turns,
            record.complete and record.n_turns == record.planned_turns,
        ),
    ]


def measure_many(url: str, address: str, scenario: Path, out: Path, calls: int) -> list[Promise]:
    """Kill the driver of a run of many calls in its middle, and resume it."""
    began_s = time.monotonic()
    first = TurngapProcess("run", str(scenario), "--url", url, "--out", str(out), "--ray", address)
    while len(first.announced) < calls // 2 and time.monotonic() - began_s < LONGEST_S:
        time.sleep(0.5)
    announced = first.announced
    killed = first.kill_after(0.0)
    killed_s = time.monotonic() - began_s
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    kept = stored_utterances(folder)
    print_progress(f"killed after {killed_s:.0f} s with {len(kept)} of {calls} turns")
    second = TurngapProcess("run", "--resume", str(folder), "--ray", address)
    second.wait(LONGEST_S)
    took_s = time.monotonic() - began_s
    record = store.read_run(folder).record
    print_progress(f"complete after {took_s:.0f} s: {record.sentence}")
    return [
        Promise("the run was killed in its middle", f"{len(announced)} turns", len(announced), killed),
        Promise(
            "every announced turn was kept",
            f"{len(announced & kept)} of {len(announced)}",
            len(kept),
            announced <= kept,
        ),
        Promise(
            f"resumed, all {calls} calls are there ({killed_s:.0f} s before the kill, {took_s:.0f} s in all)",
            f"{record.n_turns} turns",
            record.n_turns,
            record.complete and record.n_turns == calls,
        ),
    ]


def _write_scenario(folder: Path, turns: int, at_once: int) -> Path:
    """Write a scenario of short tones, one a call, so many calls at once."""
    folder.mkdir()
    path = write_scenario(folder, turns)
    path.write_text(f"simultaneous_calls: {at_once}\n{path.read_text('utf-8')}", "utf-8")
    return path


def main() -> int:
    """Run the parts; return 1 if a promise does not hold."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; repeatable")
    parser.add_argument("--rounds", type=int, default=3, help="of `same`")
    parser.add_argument("--turns", type=int, default=40, help="of a run of `same` and of `lost`")
    parser.add_argument("--calls", type=int, default=1000, help="of `many`")
    parser.add_argument("--at-once", type=int, default=30, help="simultaneous calls of `many`")
    options = parser.parse_args()
    parts, promises = options.only or PARTS, list[Promise]()
    with tempfile.TemporaryDirectory(prefix="turngap-cluster-") as name:
        folder = Path(name)
        with scripted_agent(folder, options.at_once) as url, three_nodes() as cluster:
            few = _write_scenario(folder / "few", options.turns, AT_ONCE)
            if "same" in parts:
                gaps = measure_same(url, cluster.address, few, folder / "same", options.rounds)
                promises += judge_same(gaps, as_json=options.json)
            if "many" in parts:
                many = _write_scenario(folder / "many", options.calls, options.at_once)
                promises += measure_many(url, cluster.address, many, folder / "runs", options.calls)
            if "lost" in parts:  # last: one node is gone after it
                promises += measure_lost(url, cluster, few, folder / "lost")
    return print_result("a Ray cluster of three nodes on one machine", promises, {}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
