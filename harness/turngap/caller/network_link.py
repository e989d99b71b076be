"""A call's link through a simulated network: what is delayed, lost or duplicated between the caller and the socket.

A lost frame is lost before Twilio's media edge, on the phone's leg: no message is made of it, so sequence and chunk
numbers have no gap and the next `timestamp` is 20 ms further on. Messages from the agent are never lost (they travel on
TCP), but 20 ms pieces of their audio are: the caller hears silence there, and the rest keeps its time. With a network
that does nothing every message passes at once, without a timer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.clock import NS_PER_MS
from turngap.model.records import Pcm16
from turngap.network import NetworkPath, NetworkProfile

CallAt = Callable[[int, Callable[[int], object]], object]
"""Calls back at a time in ns, in the order of the deadlines; equal deadlines in the order in which they were set."""


class NetworkLink:
    """Both directions of one call."""

    def __init__(self, network: NetworkProfile | None, seed: str, call_at: CallAt) -> None:
        """`seed` determines all random draws; `call_at` is used to deliver what arrives later."""
        self._call_at = call_at
        self._network = None if network is None or network.does_nothing else network
        idle = NetworkProfile(name="idle")
        self._uplink = NetworkPath((self._network or idle).uplink, f"{seed}:uplink")
        self._downlink = NetworkPath((self._network or idle).downlink, f"{seed}:downlink")

    @property
    def name(self) -> str:
        """The network's name, "" for one that does nothing."""
        return "" if self._network is None else self._network.name

    @property
    def breaks_after_ns(self) -> int | None:
        """The time from the stream's start at which the connection breaks, if it does."""
        breaks_after_s = None if self._network is None else self._network.disconnect_after_s
        return None if breaks_after_s is None else round(breaks_after_s * 1000 * NS_PER_MS)

    def send_frame(self, due_ns: int, write: Callable[[int], object], *, keep: bool = False) -> None:
        """Send a frame of the caller that is due at `due_ns`: call `write` for each copy, with its delay in ns.

        With `keep` it is not lost: the frame that holds the end of speech is kept, so that the agent could hear t0.
        """
        if self._network is None:
            write(0)
            return
        arrivals_ns = self._uplink.frame_arrivals_ns(due_ns)
        if keep and not arrivals_ns:
            arrivals_ns = (self._uplink.message_arrival_ns(due_ns),)
        for arrival_ns in arrivals_ns:
            self._call_at(arrival_ns, lambda at_ns: write(at_ns - due_ns))

    def send_message(self, now_ns: int, write: Callable[[], object]) -> None:
        """Send a control message of the caller: delayed like a frame, never lost."""
        if self._network is None:
            write()
        else:
            self._call_at(self._uplink.message_arrival_ns(now_ns), lambda _: write())

    def receive_message(self, recv_ns: int, handle: Callable[[int], object]) -> None:
        """Pass on a message that was read from the socket: call `handle` with the time at which the caller has it."""
        if self._network is None:
            handle(recv_ns)
        else:
            self._call_at(self._downlink.message_arrival_ns(recv_ns), handle)

    def drop_lost_audio(self, pcm: Pcm16) -> Pcm16:
        """Return a message's audio with its lost 20 ms pieces silenced; shape (n,) in and out."""
        if self._network is None or not self._network.downlink.loss:
            return pcm
        lost = self._downlink.draw_losses(-(-len(pcm) // FRAME_SAMPLES))
        return np.where(np.repeat(lost, FRAME_SAMPLES)[: len(pcm)], np.int16(0), pcm)
