"""A call's way through a simulated network: what is held up, lost or doubled between the caller and the socket.

A lost frame is lost before Twilio's media edge, on the phone's leg: no message is made of it, so sequence and chunk
numbers have no hole and the next `timestamp` is 20 ms further on. From the agent, messages are never lost (they travel
on TCP) but 20 ms pieces of their audio are: the caller hears silence there, and what follows keeps its time. Nothing
travels when the network does nothing: then every message passes at once, without a timer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.clock import NS_PER_MS
from turngap.model.records import Pcm16
from turngap.network import NetworkProfile, Path

At = Callable[[int, Callable[[int], object]], object]
"""Call back at a time in ns, in the order of the deadlines; equal ones in the order of asking."""


class Crossing:
    """Both directions of one call."""

    def __init__(self, network: NetworkProfile | None, seed: str, at: At) -> None:
        """`seed` settles all that is drawn; `at` is told when something arrives."""
        self._at = at
        self._network = None if network is None or network.does_nothing else network
        idle = NetworkProfile(name="idle")
        self._uplink = Path((self._network or idle).uplink, f"{seed}:uplink")
        self._downlink = Path((self._network or idle).downlink, f"{seed}:downlink")

    @property
    def name(self) -> str:
        """The network's name, "" for one that does nothing."""
        return "" if self._network is None else self._network.name

    @property
    def breaks_after_ns(self) -> int | None:
        """When the connection breaks, from the stream's start."""
        broken_s = None if self._network is None else self._network.disconnect_after_s
        return None if broken_s is None else round(broken_s * 1000 * NS_PER_MS)

    def frame_leaves(self, due_ns: int, write: Callable[[int], object], *, keep: bool = False) -> None:
        """A frame of the caller's that is due then: `write` is called for each copy, with how long it was held up.

        One to `keep` is not lost: that which holds the end of speech, so that t0 is what the agent could have heard.
        """
        if self._network is None:
            write(0)
            return
        arrivals_ns = self._uplink.arrivals_ns(due_ns)
        if keep and not arrivals_ns:
            arrivals_ns = (self._uplink.arrival_ns(due_ns),)
        for arrival_ns in arrivals_ns:
            self._at(arrival_ns, lambda at_ns: write(at_ns - due_ns))

    def message_leaves(self, now_ns: int, write: Callable[[], object]) -> None:
        """A control message of the caller's: late like a frame, never lost."""
        if self._network is None:
            write()
        else:
            self._at(self._uplink.arrival_ns(now_ns), lambda _: write())

    def message_comes(self, recv_ns: int, take: Callable[[int], object]) -> None:
        """Something from the agent's end was read from the socket: `take` is called with the time the caller has it."""
        if self._network is None:
            take(recv_ns)
        else:
            self._at(self._downlink.arrival_ns(recv_ns), take)

    def heard_of(self, pcm: Pcm16) -> Pcm16:
        """A message's audio as it comes out of the phone: lost pieces of 20 ms are silent; shape (n,) in and out."""
        if self._network is None or not self._network.downlink.loss:
            return pcm
        lost = self._downlink.losses(-(-len(pcm) // FRAME_SAMPLES))
        return np.where(np.repeat(lost, FRAME_SAMPLES)[: len(pcm)], np.int16(0), pcm)
