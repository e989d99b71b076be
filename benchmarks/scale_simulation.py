"""A simulation of calls at one machine: what they wait for, with SimPy. Its parameters are measured, or named as not.

A machine is a set of stations. Calls talk as in a scenario: the caller speaks, the agent waits for the end of the turn,
each stage does its work, and the reply is spoken. A caller's frames occupy the event loop meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

FRAME_S = 0.020
"""A media frame lasts 20 ms: 50 a second and direction."""
Process = Generator[Any, Any, None]


@dataclass(frozen=True, slots=True)
class Talk:
    """How callers and agent talk."""

    speech_s: float
    """Mean length of an utterance."""
    reply_s: float
    """Mean length of a reply."""
    pause_s: float = 0.6
    """From the end of a reply to the caller's next word."""
    silence_ms: float = 0.0
    """What the agent waits for before it takes a turn for ended."""

    @property
    def turn_s(self) -> float:
        """How long a turn lasts, its gap apart."""
        return self.speech_s + self.reply_s + self.pause_s


@dataclass(frozen=True, slots=True)
class Station:
    """A stage whose work waits in one queue."""

    name: str
    work_ms: float
    """Mean time of one job alone."""
    servers: int | None = 1
    """Jobs at once; None: as many as there are, so that nobody waits."""
    spread: float = 0.0
    """Standard deviation over mean of the log-normal times; 0: all are the same."""
    rest_ms: float = 0.0
    """How long a job keeps its server after the call has gone on: the rest of a reply."""


@dataclass(frozen=True, slots=True)
class FrameStation:
    """A synthesiser that makes every speaking call one piece of sound after another, in turns."""

    name: str
    frame_ms: float
    """The time of one piece."""
    sound_ms: float = 80.0
    """How long it sounds."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What one unit of the fleet consists of; calls are divided over units, which share nothing."""

    talk: Talk
    stations: tuple[Station, ...] = ()
    synthesiser: FrameStation | None = None
    loop_us: float = 0.0
    """What one frame of one call costs the event loop, in and out together."""
    floor_ms: tuple[float, ...] = ()
    """Gaps without any load, as measured; one is drawn for each turn, and what was waited for is added."""


@dataclass(slots=True)
class Simulated:
    """What was simulated."""

    gaps_ms: list[float] = field(default_factory=list)
    waited_ms: dict[str, list[float]] = field(default_factory=dict)
    """By station, how long jobs stood in its queue."""
    busy_s: dict[str, float] = field(default_factory=dict)
    """By station, over all its servers."""
    late_pieces: int = 0
    """Pieces of sound that were not there when they should have sounded."""
    pieces: int = 0
    seconds: float = 0.0

    def busy(self, name: str, servers: int = 1) -> float:
        """Return the share of its time that a station was at work."""
        return self.busy_s.get(name, 0.0) / (self.seconds * servers)

    def gap(self, quantile: float) -> float:
        """Return a quantile of the gaps, ms; infinity without gaps."""
        return float(np.quantile(self.gaps_ms, quantile)) if self.gaps_ms else float("inf")


LOOP = "event loop"


class _Run:
    """One simulation under way."""

    def __init__(self, machine: Machine, seed: int) -> None:
        self.machine, self.rng, self.out = machine, random.Random(seed), Simulated()
        self.env = simpy.Environment()
        self.loop = simpy.Resource(self.env)
        self.queues = {
            station.name: simpy.Resource(self.env, station.servers)
            for station in machine.stations
            if station.servers is not None
        }
        self.voice = simpy.Resource(self.env)

    def use(self, name: str, resource: simpy.Resource | None, work_s: float, rest_s: float = 0.0) -> Process:
        """Wait for a server of a station, and occupy it; for `rest_s` more in the background."""
        if resource is None:
            self._note(name, 0.0, work_s + rest_s)
            yield self.env.timeout(work_s)
            return
        asked, place = self.env.now, resource.request()
        yield place
        self._note(name, self.env.now - asked, work_s + rest_s)
        yield self.env.timeout(work_s)
        if rest_s:
            self.env.process(self._occupy(resource, place, rest_s))
        else:
            resource.release(place)

    def _occupy(self, resource: simpy.Resource, place: Any, rest_s: float) -> Process:
        yield self.env.timeout(rest_s)
        resource.release(place)

    def _note(self, name: str, waited_s: float, work_s: float) -> None:
        self.out.waited_ms.setdefault(name, []).append(1000 * waited_s)
        self.out.busy_s[name] = self.out.busy_s.get(name, 0.0) + work_s

    def draw_s(self, station: Station) -> float:
        """Return the time of one job."""
        return self.draw_length_s(station.work_ms / 1000, station.spread)

    def draw_length_s(self, mean_s: float, spread: float) -> float:
        """Return a log-normal time with that mean and spread."""
        if not spread or not mean_s:
            return mean_s
        sigma2 = np.log1p(spread**2)
        return float(self.rng.lognormvariate(float(np.log(mean_s) - sigma2 / 2), float(np.sqrt(sigma2))))

    def frames(self, first_s: float) -> Process:
        """Let a call's frames occupy the event loop, 50 times a second."""
        work_s = self.machine.loop_us / 1e6
        yield self.env.timeout(first_s)
        while True:
            due = self.env.now + FRAME_S
            yield from self.use(LOOP, self.loop, work_s)
            yield self.env.timeout(max(0.0, due - self.env.now))

    def call(self, first_s: float, warm_s: float) -> Process:
        """Talk for as long as the simulation lasts; gaps of turns that ended before `warm_s` are left out."""
        talk = self.machine.talk
        yield self.env.timeout(first_s)
        while True:
            yield self.env.timeout(self.draw_length_s(talk.speech_s, 0.5))
            ended = self.env.now
            waited_s = 0.0
            if self.machine.loop_us:
                waited_s += yield from self._wait_loop()
            yield self.env.timeout(talk.silence_ms / 1000)
            for station in self.machine.stations:
                queue = self.queues.get(station.name)
                yield from self.use(station.name, queue, self.draw_s(station), station.rest_ms / 1000)
            reply_s = self.draw_length_s(talk.reply_s, 0.5)
            if self.machine.synthesiser is not None:
                yield from self.use(self.machine.synthesiser.name, self.voice, self.machine.synthesiser.frame_ms / 1000)
            if self.machine.loop_us:
                waited_s += yield from self._wait_loop()
            if ended > warm_s:
                floor = self.machine.floor_ms
                gap_ms = 1000 * (self.env.now - ended)
                self.out.gaps_ms.append(self.rng.choice(floor) + 1000 * waited_s if floor else gap_ms)
            if self.machine.synthesiser is not None:
                self.env.process(self._speak(self.machine.synthesiser, reply_s))
            yield self.env.timeout(reply_s + talk.pause_s)

    def _wait_loop(self) -> Generator[Any, Any, float]:
        """Wait for the event loop as a frame does; return for how long."""
        asked = self.env.now
        with self.loop.request() as turn:
            yield turn
            waited_s = float(self.env.now - asked)
            yield self.env.timeout(self.machine.loop_us / 1e6)
        return waited_s

    def _speak(self, synthesiser: FrameStation, reply_s: float) -> Process:
        """Make the rest of a reply, one piece ahead of what sounds."""
        sound_s = synthesiser.sound_ms / 1000
        sounds_at = self.env.now
        for _ in range(max(0, round(reply_s / sound_s) - 1)):
            sounds_at += sound_s
            yield from self.use(synthesiser.name, self.voice, synthesiser.frame_ms / 1000)
            self.out.pieces += 1
            if self.env.now > sounds_at:
                self.out.late_pieces += 1
                sounds_at = self.env.now  # the reply has a hole, and goes on after it
            yield self.env.timeout(max(0.0, sounds_at - sound_s - self.env.now))


def simulate(machine: Machine, calls: int, *, seconds: float = 60.0, warm_s: float = 10.0, seed: int = 1) -> Simulated:
    """Return what so many calls under way meet on one machine, after `warm_s`, for `seconds`."""
    run = _Run(machine, seed)
    for _ in range(calls):
        if machine.loop_us:
            run.env.process(run.frames(run.rng.uniform(0, FRAME_S)))
        run.env.process(run.call(run.rng.uniform(0, machine.talk.turn_s), warm_s))
    run.env.run(warm_s + seconds)
    run.out.seconds = warm_s + seconds
    return run.out


def most_calls(
    machine: Machine, budget_ms: float, *, most: int = 4096, late_share: float = 0.001, seconds: float = 60.0
) -> int:
    """Return the most calls under way with p95 within the budget and at most `late_share` of the sound late; 0: none.

    The number is doubled until the budget breaks, then halved in: gaps grow with the calls.
    """

    def holds(calls: int) -> bool:
        seen = simulate(machine, calls, seconds=seconds)
        return seen.gap(0.95) <= budget_ms and seen.late_pieces <= late_share * max(1, seen.pieces)

    if not holds(1):
        return 0
    low, high = 1, 2
    while high <= most and holds(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
