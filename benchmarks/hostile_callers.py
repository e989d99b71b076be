"""Measures what a caller waits while others attack the agent, and whether the agent survives them unharmed.

    python -m benchmarks.hostile_callers [--profile scripted] [--turns 12] [--json]     about 8 minutes

An agent of the profile runs as its own process. A healthy caller measures its turn gap alone, and again beside each
attack (`benchmarks.attacks`); afterwards no call may be under way, and memory and descriptors must be as before.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil
import turngap

from benchmarks.kills import write_scenario
from benchmarks.promises import (
    Promise,
    check_at_most,
    format_number,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)

MALFORMED_MESSAGES = 100_000
HALF_OPEN_SOCKETS = 10_000
CALM_S = 3.0
"""Time for sockets to close after an attack."""
AT_ONCE = {"malformed": 4, "flood": 2, "half-open": 4, "crowd": 20}
ENOUGH = {"malformed": ("messages", MALFORMED_MESSAGES), "half-open": ("sockets", HALF_OPEN_SOCKETS)}
"""How long an attack lasts at least, beside the healthy caller's run."""


@dataclass(frozen=True, slots=True)
class AttackRow:
    """What one attack did."""

    attack: str
    median_ms: float | None
    p95_ms: float | None
    answered: int
    turns: int
    ratio: float | None
    """Of the median to that of the calls alone, before."""
    growth_mib: float
    """Of the agent's resident memory, over the attack."""
    descriptors: int
    """More than before."""
    active: float
    """Calls that the agent still counts afterwards."""
    counts: dict[str, int]


def find_free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def serve(profile: str, calls: int, otlp_port: int) -> Iterator[tuple[psutil.Process, str, str]]:
    """Start an agent that sends its spans to that port; yield its process, its WebSocket URL and its HTTP URL."""
    command = [sys.executable, "-m", "turngap_agent", "serve", "--profile", profile, "--port", "0"]
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{otlp_port}"}
    command += ["--set", f"limits.simultaneous_calls={calls}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            yield psutil.Process(process.pid), ready["url"], ready["http"]
        finally:
            process.terminate()


@contextlib.contextmanager
def attack(kind: str, url: str, http: str, counts: dict[str, int]) -> Iterator[None]:
    """Attack for as long as the body runs, from the first call after the warm-up; `counts` gets what was done."""
    command = [sys.executable, "-m", "benchmarks.attacks", url, kind, "--at-once", str(AT_ONCE[kind])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        ended = threading.Event()

        def begin(go: IO[str]) -> None:
            # The warm-up call, the pause after it, and the first call that counts.
            for busy in (True, False, True):
                while (read_active(http) > 0) is not busy and not ended.wait(0.05):
                    pass
            go.write("go\n")
            go.flush()

        beginning = threading.Thread(target=begin, args=(process.stdin,))
        beginning.start()
        try:
            yield
        finally:
            ended.set()
            beginning.join()
            out, _ = process.communicate("")
            counts.update(json.loads(out))


def write_one_call(scenario: Path, turns: int) -> Path:
    """Write the scenario beside it with all turns in one call: its caller keeps the line."""
    path = scenario.with_name("one-call.scenario.yaml")
    text = scenario.read_text("utf-8").replace("probe: true", f"turns_per_call: {turns}")
    text = text.replace("name: kills", "name: one-call")
    path.write_text(text, "utf-8")
    return path


def measure(scenario: Path, url: str, otlp_port: int, out: Path) -> tuple[list[float], int]:
    """Return the turn gaps of the answered turns, ascending, and the number of turns."""
    frame = turngap.run(scenario, agent=turngap.Agent.url(url, otlp_port=otlp_port), out=out).turns
    scored = frame[frame["scored"] & (frame["outcome"] != "invalid")]
    gaps = scored.loc[scored["outcome"] == "answered", "turn_gap_ms"]
    return sorted(float(gap) for gap in gaps), len(scored)


def read_active(http: str) -> float:
    """Return the number of calls that the agent counts now."""
    with urllib.request.urlopen(f"{http}/metrics", timeout=10) as page:  # our own agent
        lines = page.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("turngap_active_calls "))


def measure_attack(kind: str, profile: str, scenario: Path, out: Path) -> AttackRow:
    """Measure alone, then beside the attack, on an agent of its own."""
    port = find_free_port()
    with serve(profile, 2 if kind == "crowd" else 16, port) as (process, url, http):
        alone, _ = measure(scenario, url, port, out / f"{kind}-alone")
        memory, descriptors = process.memory_info().rss, process.num_fds()
        counts: dict[str, int] = {}
        started_s = time.monotonic()
        with attack(kind, url, http, counts):
            gaps, turns = measure(scenario, url, port, out / kind)
            # A run of few turns may be shorter than it takes to send everything; the counts say what was sent.
            while kind in ENOUGH and time.monotonic() - started_s < 120:
                time.sleep(1)
        time.sleep(CALM_S)
        median, reference = (values[len(values) // 2] if values else None for values in (gaps, alone))
        return AttackRow(
            kind,
            median,
            gaps[int(0.95 * len(gaps))] if gaps else None,
            len(gaps),
            turns,
            median / reference if median is not None and reference else None,
            (process.memory_info().rss - memory) / 2**20,
            process.num_fds() - descriptors,
            read_active(http),
            counts,
        )


def check(row: AttackRow) -> Iterator[Promise]:
    """Yield what must hold beside one attack."""
    yield check_at_most(f"{row.attack}: median gap beside it, as a multiple", row.ratio, 1.10, "×")
    yield Promise(
        f"{row.attack}: turns answered", f"{row.answered} of {row.turns}", row.answered, row.answered == row.turns
    )
    yield check_at_most(f"{row.attack}: growth of memory", row.growth_mib, 20, "MiB")
    yield check_at_most(f"{row.attack}: descriptors left", row.descriptors, 0, "", 0)
    yield check_at_most(f"{row.attack}: calls left", row.active, 0, "", 0)
    if (enough := ENOUGH.get(row.attack)) is not None:
        done = row.counts.get(enough[0], 0)
        yield Promise(f"{row.attack}: {enough[0]}", f"{done:,}", done, holds=done >= enough[1])
    if row.attack == "crowd":
        silent, told = row.counts.get("silent", 0), row.counts.get("told why", 0)
        yield Promise(
            "crowd: refused callers who heard why", f"{told} of {told + silent}", told, not silent and told > 0
        )


def main() -> int:
    """Run all attacks; return 0 if every promise holds."""
    parser = make_parser(__doc__)
    parser.add_argument("--profile", default="scripted")
    parser.add_argument("--turns", type=int, default=12, help="turns of the healthy caller (default 12)")
    parser.add_argument("--only", choices=sorted(AT_ONCE), help="one attack")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="turngap-hostile-") as folder:
        scenario = write_scenario(Path(folder), options.turns)
        for kind in [options.only] if options.only else AT_ONCE:
            print_progress(f"{kind}: the caller alone, then beside it")
            played = write_one_call(scenario, options.turns) if kind == "crowd" else scenario
            rows.append(measure_attack(kind, options.profile, played, Path(folder)))
    columns = ("attack", "median", "p95", "answered", "ratio", "MiB", "descriptors", "done")
    texts = [
        (
            row.attack,
            format_number(row.median_ms),
            format_number(row.p95_ms),
            f"{row.answered}/{row.turns}",
            format_number(row.ratio, "", 2),
            f"{row.growth_mib:.1f}",
            str(row.descriptors),
            ", ".join(f"{value:,} {name}" for name, value in row.counts.items()),
        )
        for row in rows
    ]
    print_table("the healthy caller beside attacks", columns, texts, as_json=options.json)
    promises = [promise for row in rows for promise in check(row)]
    return print_result("hostile_callers", promises, {"rows": [asdict(row) for row in rows]}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
