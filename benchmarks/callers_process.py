"""One trial of `callers.py`, in a process of its own: so many two-way calls at once on one CPU, and how late they were.

    python benchmarks/callers_process.py --url ws://127.0.0.1:1234/ --calls 200 --cpu 0 --peer-pid 99

It imports no other benchmark, and of the product only what places calls, so that it can measure an older version too
(`PYTHONPATH`). With `--bare` no calls are placed: the same messages are sent and read in a bare loop, which is what
they cost the kernel. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import select
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from turngap.caller.call import place_call
from turngap.caller.connection import Connection
from turngap.caller.priority import describe_priority, raised_priority, short_collections
from turngap.caller.scheduler import Scheduler
from turngap.clock import REST_EVERY_NS, REST_NS, SystemClock
from turngap.model.records import CallEnd, CallRecord, Clip
from turngap.scenario import PlannedCall, Turn

FRAME_NS = 20_000_000
APART_S = 0.005
"""Between the starts of two calls."""
SETTLE_S = 1.5
"""After the last start: every call has its first utterance behind it."""
TURN_KEYS = {"say": "hello", "pause_ms": 200, "answer_within_ms": 2000}
TURNS = 60
CLIP_SAMPLES = 9_600
AMPLITUDE = 4_000
"""Of the callers' voice: the peer knows it by its constant level."""
BARE_BYTES = 343
"""A media message of Twilio's, as a frame of a client."""


class CountingClock(SystemClock):
    """The product's clock, whatever its version; it counts the turns of the event loop in which nothing was read."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_ns = 0
        self.reads = 0

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        """Spin and rest as the product does, and count."""
        while (now_ns := self.now_ns()) < deadline_ns:
            if self._rest_due_ns <= now_ns < deadline_ns - REST_NS:
                time.sleep(REST_NS / 1e9)  # noqa: ASYNC251
                self._rest_due_ns = now_ns + REST_EVERY_NS
                self._rested_ns = now_ns = self.now_ns()
            reads = self.reads
            await asyncio.sleep(0)
            if reads == self.reads:
                self.idle_ns += self.now_ns() - now_ns


def make_clock() -> CountingClock:
    """Return a clock that knows of every read of a connection."""
    clock, handle = CountingClock(), Connection.buffer_updated

    def count_and_handle(self: Connection, nbytes: int) -> None:
        clock.reads += 1
        handle(self, nbytes)

    Connection.buffer_updated = count_and_handle  # type: ignore[method-assign]
    return clock


async def measure_calls(url: str, calls: int, seconds: float, peer_pid: int) -> dict[str, Any]:
    """Hold `calls` calls for `seconds` once all are under way; return what they took."""
    clock = make_clock()
    signs = np.random.default_rng(2).choice([-1, 1], CLIP_SAMPLES)
    clip = Clip("noise", (signs * AMPLITUDE).astype(np.int16), 0, "hello", 0, 0, "made", True)
    turns = tuple(Turn.model_validate({"id": f"t{index}", **TURN_KEYS}) for index in range(TURNS))
    clips = {turn.key: clip for turn in turns}

    async def place(index: int) -> CallRecord:
        await asyncio.sleep(index * APART_S)
        planned = PlannedCall(index, turns, probe=False)
        return await place_call(url, planned, clips, clock=clock, scheduler=scheduler, seed=1, auth_token="")

    async with Scheduler(clock).running() as scheduler:
        with short_collections():
            tasks = [asyncio.create_task(place(index)) for index in range(calls)]
            await asyncio.sleep(calls * APART_S + SETTLE_S)
            from_ns, before = clock.now_ns(), read_loads(peer_pid, clock)
            await asyncio.sleep(seconds)
            to_ns, after = clock.now_ns(), read_loads(peer_pid, clock)
            for task in tasks:
                task.cancel()
            records = await asyncio.gather(*tasks)
    took = {name: after[name] - before[name] for name in before}
    return summarise(records, from_ns, to_ns) | share_loads(took, to_ns - from_ns) | {"priority": describe_priority()}


def summarise(records: list[CallRecord], from_ns: int, to_ns: int) -> dict[str, Any]:
    """Return the lateness of the frames that were due in the window, and the time until each one's answer was read."""
    late, there_and_back = [np.empty(0)], [np.empty(0)]
    for record in records:
        due_ns = record.started_ns + (np.arange(len(record.sent_ns)) + 1) * FRAME_NS
        inside = (due_ns >= from_ns) & (due_ns < to_ns)
        late.append((record.sent_ns - due_ns)[inside] / 1e6)
        recv_ns = np.array([message.recv_ns for message in record.received], np.int64)
        answered = inside[: len(recv_ns)]
        there_and_back.append((recv_ns - record.sent_ns[: len(recv_ns)])[answered] / 1e6)
    ended = [record.detail for record in records if record.end is not CallEnd.INTERRUPTED]
    planned = len(records) * (to_ns - from_ns) / FRAME_NS
    sent, answered_count = len(np.concatenate(late)), len(np.concatenate(there_and_back))
    return {
        "calls": len(records),
        "frames": sent,
        "sent_share": sent / planned,
        "answered_share": answered_count / planned,
        "late_ms": percentiles(np.concatenate(late)),
        "there_and_back_ms": percentiles(np.concatenate(there_and_back)),
        "turns": sum(len(record.spoken) for record in records),
        "ended_early": ended[:3],
    }


def percentiles(values: Any) -> dict[str, float]:
    """Return p50, p99 and the maximum."""
    if not len(values):
        return dict.fromkeys(("p50", "p99", "max"), float("inf"))
    return {name: float(np.percentile(values, share)) for name, share in (("p50", 50), ("p99", 99), ("max", 100))}


def read_loads(peer_pid: int, clock: CountingClock) -> dict[str, float]:
    """Return seconds of CPU so far: of this process, of the peer, of each core; and of spinning."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    stat = Path(f"/proc/{peer_pid}/stat").read_text().rpartition(")")[2].split()
    loads = {
        "caller": used.ru_utime + used.ru_stime,
        "spun": clock.idle_ns / 1e9,
        "peer": (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
    }
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _, _, irq, soft_irq = map(int, fields[:7])
            loads[f"core {name[3:]}"] = (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")
    return loads


def share_loads(took: dict[str, float], wall_ns: int) -> dict[str, Any]:
    """Return the loads as shares of a core."""
    shares = {name: round(seconds / (wall_ns / 1e9), 4) for name, seconds in took.items()}
    return {"shares": {**shares, "caller without spinning": round(shares["caller"] - shares["spun"], 4)}}


def measure_bare(url: str, calls: int, seconds: float) -> dict[str, Any]:
    """Return what the messages of so many calls cost in a bare loop: seconds of CPU for a message each way."""
    parts = urlsplit(url)
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    start = json.dumps({"event": "start", "streamSid": "MZ" + "0" * 32}).encode()
    sockets = []
    poll = select.epoll()
    for _ in range(calls):
        sock = socket.create_connection((parts.hostname or "", parts.port or 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(upgrade)
        sock.recv(4096)
        sock.sendall(bytes((0x81, 0x80 | len(start))) + bytes(4) + start)
        poll.register(sock.fileno(), select.EPOLLIN)
        sockets.append(sock)
    text = b"A" * (BARE_BYTES - 8)
    frame = bytes((0x81, 0x80 | 126)) + len(text).to_bytes(2, "big") + bytes(4) + text
    by_fd = {sock.fileno(): sock for sock in sockets}
    pairs, began, cpu = 0, time.perf_counter(), _cpu_s()
    while time.perf_counter() - began < seconds:
        for sock in sockets:
            sock.send(frame)
        left = calls
        while left:
            for fd, _ in poll.poll():
                by_fd[fd].recv(65536)
                left -= 1
        pairs += calls
    return {"pairs": pairs, "us_a_pair": (_cpu_s() - cpu) / pairs * 1e6}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the result of one trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--cpu", type=int)
    parser.add_argument("--peer-pid", type=int, required=True)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    if options.bare:
        result = measure_bare(options.url, options.calls, options.seconds)
    else:
        with raised_priority():
            result = asyncio.run(measure_calls(options.url, options.calls, options.seconds, options.peer_pid))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
