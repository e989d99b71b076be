"""The line between the two parties of a fake call: a frame every 20 ms, each direction with its own network.

Audio of a party from g to g + 20 ms is complete at g + 20, and reaches the other party after the delay of its path: a
path of 60 ms delays every sample by 60 ms, wherever it is in a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, mulaw

from turngap.calibration.reference_agent import make_tone
from turngap.caller.scheduler import Scheduler, Timer
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, Clock
from turngap.live.fake.call_parties import CallParty
from turngap.model.records import Pcm16
from turngap.network import Direction, NetworkPath

PHASE_NS = 7 * NS_PER_MS
"""The offset between the frames of the two directions."""
ANNOUNCEMENT_FRAMES = 75
"""The length of the announcement that a trial account plays at the start of a call."""


@dataclass(frozen=True, slots=True)
class _DeliveredFrame:
    """A frame that was delivered."""

    spoken_ns: int
    """The time of its first sample at the source."""
    delivered_ns: int
    """The time of its first sample at the other party: later by the delay of its path."""
    pcm: Pcm16


@dataclass(slots=True)
class _OneWay:
    """One direction."""

    source: CallParty
    sink: CallParty
    path: NetworkPath
    start_ns: int
    frames: int = 0
    delivered: list[_DeliveredFrame] = field(default_factory=list)


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
        self._up = _OneWay(caller, agent, NetworkPath(uplink, f"{seed}:up"), start_ns)
        self._down = _OneWay(agent, caller, NetworkPath(downlink, f"{seed}:down"), start_ns + PHASE_NS)
        for direction in (self._up, self._down):
            self._schedule_frame(direction)

    def stop(self) -> None:
        """Stop carrying audio."""
        self._running = False
        for timer in self._timers:
            timer.cancel()

    def recording(self) -> Pcm16:
        """Return the call as Twilio records it on the caller's leg: caller and agent as columns, shape (n, 2)."""
        outgoing = [(frame.spoken_ns, frame.pcm) for frame in self._up.delivered]
        incoming = [(frame.delivered_ns, frame.pcm) for frame in self._down.delivered]
        length = max((self._sample_at(at_ns) for at_ns, _ in (*outgoing, *incoming)), default=0) + FRAME_SAMPLES
        pcm = np.zeros((length, 2), np.int16)
        for channel, pieces in enumerate((outgoing, incoming)):
            for at_ns, piece in pieces:
                pcm[self._sample_at(at_ns) :, channel][: len(piece)] = piece
        return pcm

    def _sample_at(self, at_ns: int) -> int:
        return round((at_ns - self._start_ns) / NS_PER_SAMPLE)

    def _schedule_frame(self, direction: _OneWay) -> None:
        due_ns = direction.start_ns + (direction.frames + 1) * FRAME_NS
        self._at(due_ns, lambda due_ns: self._carry(direction, due_ns))

    def _carry(self, direction: _OneWay, due_ns: int) -> None:
        """Send the frame that is complete at `due_ns`."""
        number, direction.frames = direction.frames, direction.frames + 1
        from_ns = due_ns - FRAME_NS
        pcm = direction.source.frame(from_ns)
        if self._announced and number < ANNOUNCEMENT_FRAMES:
            pcm = make_tone(20.0, 600.0)
        arrivals_ns = direction.path.frame_arrivals_ns(due_ns)
        if arrivals_ns:
            # The line is μ-law: the recording has the audio that the other party gets.
            coded = mulaw.decode(mulaw.encode(pcm))
            direction.delivered.append(_DeliveredFrame(from_ns, arrivals_ns[0] - FRAME_NS, coded))
        for arrival_ns in arrivals_ns:
            self._at(arrival_ns, lambda at_ns: direction.sink.deliver(number, pcm))
        self._schedule_frame(direction)

    def _at(self, due_ns: int, callback: Callable[[int], None]) -> None:
        def guarded(at_ns: int) -> None:
            self._timers.discard(timer)
            if self._running:
                callback(at_ns)

        timer = self._scheduler.call_at(due_ns, guarded)
        self._timers.add(timer)
