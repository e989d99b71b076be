"""The line between two ends of a fake call: frames of 20 ms on the beat, each direction with a network of its own.

What an end says from g to g + 20 ms is complete at g + 20, and is with the other end when its path says: so a path of
60 ms moves every sample by 60 ms, wherever it lies in a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, mulaw

from turngap.calibration.reference_agent import tone
from turngap.caller.scheduler import Scheduler, Timer
from turngap.clock import NS_PER_MS, Clock
from turngap.live.fake.call_parties import CallParty
from turngap.model.records import Pcm16
from turngap.network import Direction, Path

PHASE_NS = 7 * NS_PER_MS
"""The two directions do not beat together."""
ANNOUNCEMENT_FRAMES = 75
"""What a trial account plays at the beginning of a call."""


@dataclass(frozen=True, slots=True)
class _DeliveredFrame:
    """A frame that was delivered."""

    spoken_ns: int
    """Its first sample at its source."""
    delivered_ns: int
    """Its first sample at the other end: as much later as the frame was on its way."""
    pcm: Pcm16


@dataclass(slots=True)
class _OneWay:
    """One direction."""

    source: CallParty
    sink: CallParty
    path: Path
    start_ns: int
    frames: int = 0
    kept: list[_DeliveredFrame] = field(default_factory=list)


class Bridge:
    """Carries a call's audio both ways while it runs."""

    def __init__(
        self,
        caller: CallParty,
        agent: CallParty,
        uplink: Direction,
        downlink: Direction,
        *,
        clock: Clock,
        scheduler: Scheduler,
        seed: str,
        announced: bool = False,
    ) -> None:
        self._scheduler = scheduler
        self._announced = announced
        self._timers: set[Timer] = set()
        self._running = True
        self._start_ns = start_ns = clock.now_ns() + FRAME_NS
        self._up = _OneWay(caller, agent, Path(uplink, f"{seed}:up"), start_ns)
        self._down = _OneWay(agent, caller, Path(downlink, f"{seed}:down"), start_ns + PHASE_NS)
        for way in (self._up, self._down):
            self._at_end_of(way)

    def stop(self) -> None:
        """Carry nothing more."""
        self._running = False
        for timer in self._timers:
            timer.cancel()

    def recording(self) -> Pcm16:
        """The call as Twilio records it on the caller's leg: what the caller says, what it hears; shape (n, 2)."""
        said = [(kept.spoken_ns, kept.pcm) for kept in self._up.kept]
        heard = [(kept.delivered_ns, kept.pcm) for kept in self._down.kept]
        length = max((self._place(at_ns) for at_ns, _ in (*said, *heard)), default=0) + FRAME_SAMPLES
        pcm = np.zeros((length, 2), np.int16)
        for channel, pieces in enumerate((said, heard)):
            for at_ns, piece in pieces:
                pcm[self._place(at_ns) :, channel][: len(piece)] = piece
        return pcm

    def _place(self, at_ns: int) -> int:
        return round((at_ns - self._start_ns) / 125_000)

    def _at_end_of(self, way: _OneWay) -> None:
        self._at(way.start_ns + (way.frames + 1) * FRAME_NS, lambda due_ns: self._carry(way, due_ns))

    def _carry(self, way: _OneWay, due_ns: int) -> None:
        """A frame is complete: send it on its way."""
        number, way.frames = way.frames, way.frames + 1
        from_ns = due_ns - FRAME_NS
        pcm = way.source.frame(from_ns)
        if self._announced and number < ANNOUNCEMENT_FRAMES:
            pcm = tone(20.0, 600.0)
        arrivals_ns = way.path.arrivals_ns(due_ns)
        if arrivals_ns:
            # The line itself is coded; what the recorder has is what the other end has.
            way.kept.append(_DeliveredFrame(from_ns, arrivals_ns[0] - FRAME_NS, mulaw.decode(mulaw.encode(pcm))))
        for arrival_ns in arrivals_ns:
            self._at(arrival_ns, lambda at_ns: way.sink.deliver(number, pcm))
        self._at_end_of(way)

    def _at(self, due_ns: int, callback: object) -> None:
        def guarded(at_ns: int) -> None:
            self._timers.discard(timer)
            if self._running:
                callback(at_ns)  # type: ignore[operator]  # a function of the due time

        timer = self._scheduler.at(due_ns, guarded)
        self._timers.add(timer)
