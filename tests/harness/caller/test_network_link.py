"""What a simulated network does to what crosses it: each direction's delay, losses and doubles, in silence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from turngap.caller.network_link import NetworkLink
from turngap.clock import NS_PER_MS
from turngap.network import Direction, NetworkProfile

MS = NS_PER_MS
NOTHING = Direction()


def profile(uplink: Direction = NOTHING, downlink: Direction = NOTHING, **keys: float) -> NetworkProfile:
    return NetworkProfile(name="test", uplink=uplink, downlink=downlink, **keys)


class Timers:
    """What was scheduled, served in the order of the deadlines."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Callable[[int], object]]] = []

    def at(self, deadline_ns: int, callback: Callable[[int], object]) -> None:
        self.waiting.append((deadline_ns, callback))

    def run(self) -> None:
        for deadline_ns, callback in sorted(self.waiting, key=lambda pair: pair[0]):
            callback(deadline_ns)


def test_a_network_that_does_nothing_needs_no_timer() -> None:
    """Everything passes at once, at its own time, and the record names no network."""
    timers, passed = Timers(), list[object]()
    for network in (None, profile()):
        crossing = NetworkLink(network, "1:0", timers.at)
        crossing.send_frame(5 * MS, passed.append)
        crossing.send_message(6 * MS, lambda: passed.append("echo"))
        crossing.receive_message(7 * MS, passed.append)
        assert crossing.name == ""
        assert crossing.breaks_after_ns is None
    assert passed == [0, "echo", 7 * MS] * 2
    assert timers.waiting == []


def test_each_direction_has_its_own_delay() -> None:
    """A frame and an echo are late by the uplink's delay, a message by the downlink's; the time of each is recorded."""
    timers, passed = Timers(), list[object]()
    crossing = NetworkLink(profile(Direction(delay_ms=60), Direction(delay_ms=90)), "1:0", timers.at)
    crossing.send_frame(20 * MS, lambda held_ns: passed.append(("frame", held_ns)))
    crossing.send_message(30 * MS, lambda: passed.append("echo"))
    crossing.receive_message(30 * MS, lambda at_ns: passed.append(("message", at_ns)))
    assert [deadline_ns for deadline_ns, _ in timers.waiting] == [80 * MS, 90 * MS, 120 * MS]
    timers.run()
    assert passed == [("frame", 60 * MS), "echo", ("message", 120 * MS)]


def test_a_lost_frame_is_never_written_and_a_double_twice() -> None:
    """The network decides; control messages are neither lost nor doubled."""
    for uplink, copies in ((Direction(loss=0.5), {0, 1}), (Direction(duplicate=0.5), {1, 2})):
        timers, written = Timers(), list[int]()
        crossing = NetworkLink(profile(uplink), "1:0", timers.at)
        for frame in range(100):
            crossing.send_frame(frame * 20 * MS, partial(noted, written, frame))
            crossing.send_message(frame * 20 * MS, partial(noted, written, -1))
        timers.run()
        assert {written.count(frame) for frame in range(100)} == copies
        assert written.count(-1) == 100


def noted(written: list[int], number: int, held_ns: int = 0) -> None:
    assert held_ns == 0
    written.append(number)


def test_lost_audio_is_silence_of_the_same_length() -> None:
    """Pieces of 20 ms go silent; the rest, and the length, stay as they were."""
    pcm = np.full(160 * 100 + 7, 1000, np.int16)
    heard = NetworkLink(profile(downlink=Direction(loss=0.3)), "1:0", Timers().at).drop_lost_audio(pcm)
    assert heard.shape == pcm.shape
    assert heard.dtype == np.int16
    pieces = heard[:16_000].reshape(-1, 160)
    assert {tuple(set(piece.tolist())) for piece in pieces} == {(0,), (1000,)}
