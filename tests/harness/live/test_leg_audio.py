"""Pins the time line of a leg: samples have their own times, the fastest frame settles them, what is lost is a hole."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.playout import Playout
from turngap.clock import NS_PER_MS
from turngap.live.leg_audio import InboundAudio, TimedAudio, render_playout
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import InboundMedia

START = 7_000_000_000


def frame(number: int, value: int = 1000, timestamp: int | None = None) -> InboundMedia:
    pcm = np.full(160, value, np.int16)
    at = 130 + 20 * number if timestamp is None else timestamp
    return InboundMedia("MZ", number + 2, number + 1, at, mulaw.encode(pcm))


def test_a_frames_samples_were_spoken_before_it_arrived() -> None:
    """The first frame, which arrives at 20 ms, began at 0."""
    track = InboundAudio()
    track.add(frame(0), START + 20 * NS_PER_MS)
    assert track.audio().start_ns == START
    assert track.audio().end_ns == START + 20 * NS_PER_MS


@given(st.lists(st.integers(0, 50_000_000), min_size=3, max_size=40))
def test_the_fastest_frame_settles_the_line(late_ns: list[int]) -> None:
    """However much later the others came; that is jitter."""
    track = InboundAudio()
    late_ns[len(late_ns) // 2] = 0
    for number, late in enumerate(late_ns):
        track.add(frame(number), START + (number + 1) * 20 * NS_PER_MS + late)
    assert track.audio().start_ns == START
    jitter_ms = track.jitter_ms()
    assert jitter_ms is not None
    assert jitter_ms >= 0
    received = track.received()
    assert all(a.play_ns + 20 * NS_PER_MS == b.play_ns for a, b in itertools.pairwise(received))


def test_a_lost_frame_leaves_silence_and_moves_nothing() -> None:
    """Its place is known from the timestamps."""
    track = InboundAudio()
    for number in (0, 2):
        track.add(frame(number), START + (number + 1) * 20 * NS_PER_MS)
    line = track.audio()
    assert len(line.pcm) == 480
    assert not line.pcm[160:320].any()
    assert line.pcm[320:].all()


def test_a_repeated_frame_moves_nothing() -> None:
    """It is in the line once."""
    track = InboundAudio()
    for number in (0, 0, 1):
        track.add(frame(number, value=1000 + 500 * number), START + (number + 1) * 20 * NS_PER_MS)
    assert len(track.audio().pcm) == 320
    assert len(track.received()) == 2


def test_timestamps_that_make_no_sense_are_not_believed() -> None:
    """One that goes back or jumps by minutes is taken as following the last."""
    track = InboundAudio()
    track.add(frame(0), START)
    assert track.add(frame(1, timestamp=50), START).offset == 160
    assert track.add(frame(2, timestamp=900_000), START).offset == 320


def test_buffered_audio_is_heard_when_it_is_played() -> None:
    """Two messages at once follow each other; what was cleared was not played."""
    playout = Playout()
    playout.receive(np.full(160, 5, np.int16), START)
    playout.receive(np.full(160, 6, np.int16), START)
    playout.truncate(START + 30 * NS_PER_MS)
    line = render_playout(playout.received)
    assert line.start_ns == START
    assert (line.pcm[:160] == 5).all()
    assert (line.pcm[160:240] == 6).all()
    assert not line.pcm[240:].any()


def test_a_piece_of_a_line_keeps_its_times() -> None:
    """And ends where the line does."""
    line = TimedAudio(START, np.arange(800, dtype=np.int16))
    piece = line.between(START + 10 * NS_PER_MS, START + 10**10)
    assert piece.start_ns == START + 10 * NS_PER_MS
    assert piece.pcm[0] == 80
    assert piece.end_ns == line.end_ns
    assert len(line.between(START - 10**10, START - 10**9).pcm) == 0
