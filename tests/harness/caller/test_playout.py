"""Playback: what is heard, when, to the sample; clears, holes, marks and the limit of the buffer."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.onset import Segment
from turngap.caller.playout import MAX_BUFFERED_NS, Playout, played_segments
from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import Pcm16

Steps = list[tuple[int, int, bool]]
STEPS = st.lists(st.tuples(st.integers(0, 60_000_000), st.integers(0, 900), st.booleans()), max_size=30)


def ramp(samples: int, first: int = 1) -> Pcm16:
    """Samples that tell their own place."""
    return (np.arange(first, first + samples) % 30_000 + 1).astype(np.int16)


def play(steps: Steps, *, clears: bool = True) -> tuple[Playout, int]:
    """Messages of so many samples after so many ns, some preceded by a clear; the answer has the last time."""
    playout, now, first = Playout(), 0, 1
    for wait_ns, samples, clear in steps:
        now += wait_ns
        if clear and clears:
            playout.clear(now)
        playout.receive(ramp(samples, first), now)
        first += samples
    return playout, now


@given(STEPS)
def test_playback_never_precedes_arrival_nor_overlaps(steps: Steps) -> None:
    """Each message plays after it came and after everything before it, with or without clears."""
    playout, _ = play(steps)
    end = 0
    for message in playout.received:
        assert message.play_ns >= message.recv_ns
        if message.played_samples:
            assert message.play_ns >= end
            end = message.play_ns + message.played_samples * NS_PER_SAMPLE


@given(STEPS)
def test_without_clears_every_sample_is_played_once_in_order(steps: Steps) -> None:
    """The pieces together are the messages together."""
    playout, _ = play(steps, clears=False)
    sent = [message.pcm for message in playout.received]
    heard = [segment.pcm for segment in played_segments(playout.received)]
    assert np.array_equal(np.concatenate([ramp(0), *sent]), np.concatenate([ramp(0), *heard]))


@given(STEPS)
def test_a_gap_in_the_buffer_is_a_hole_and_nothing_else_is(steps: Steps) -> None:
    """Playback begins at once when the buffer is empty, and continues without a hole when it is not."""
    playout, _ = play(steps, clears=False)
    end = 0
    for message in playout.received:
        assert message.play_ns == max(message.recv_ns, end)
        end = message.play_ns + len(message.pcm) * NS_PER_SAMPLE
    pieces = played_segments(playout.received)
    assert all(later.start_ns > earlier.end_ns for earlier, later in itertools.pairwise(pieces))


@given(STEPS, st.integers(0, 2_000_000_000))
def test_after_a_clear_nothing_older_is_heard(steps: Steps, later_ns: int) -> None:
    """A clear cuts at whole samples: less than one sample before its moment, never after it."""
    playout, now = play(steps)
    at = now + later_ns
    end_before = playout.end_ns
    playout.clear(at)
    assert playout.end_ns <= at
    pieces = played_segments(playout.received)
    if pieces:
        assert pieces[-1].end_ns <= at
        if end_before > at and playout.received[-1].play_ns <= at and playout.received[-1].played_samples:
            assert at - pieces[-1].end_ns < NS_PER_SAMPLE


@given(STEPS, st.integers(0, 2_000_000_000))
def test_segments_from_a_moment_are_those_that_end_after_it(steps: Steps, from_ns: int) -> None:
    """A later beginning leaves whole messages out, and keeps all that is heard from then on."""
    playout, _ = play(steps)
    late = played_segments(playout.received, from_ns)
    assert all(segment.end_ns > from_ns for segment in late)
    end = max(playout.end_ns, from_ns)
    assert np.array_equal(lay_out(late, from_ns, end), lay_out(played_segments(playout.received), from_ns, end))


def lay_out(pieces: tuple[Segment, ...], from_ns: int, end_ns: int) -> Pcm16:
    """The pieces in one array, each at its rounded place, silence in the holes."""
    line = np.zeros(-(-(end_ns - from_ns) // NS_PER_SAMPLE), np.int16)
    for piece in pieces:
        at = round((piece.start_ns - from_ns) / NS_PER_SAMPLE)
        heard = piece.pcm[max(0, -at) :]
        line[max(0, at) : max(0, at) + len(heard)] = heard[: max(0, len(line) - max(0, at))]
    return line


def test_a_mark_is_due_when_the_audio_before_it_has_played() -> None:
    """Not when it arrives; and with an empty buffer at once."""
    playout = Playout()
    assert playout.add_mark("empty", 5) == 5
    playout.receive(ramp(800), 1_000)
    due = playout.add_mark("after", 2_000)
    assert due == 1_000 + 800 * NS_PER_SAMPLE
    assert playout.echo_marks(6, 6) == ("empty",)
    assert playout.echo_marks(due, due) == ("after",)
    assert playout.echo_marks(due, due) == ()
    assert [mark.echoed_ns for mark in playout.marks] == [6, due]


def test_a_clear_echoes_all_pending_marks() -> None:
    """Echoing without a time returns whatever is still out, in order."""
    playout = Playout()
    playout.receive(ramp(8000), 0)
    playout.add_mark("a", 1)
    playout.add_mark("b", 2)
    playout.clear(10)
    assert playout.echo_marks(10) == ("a", "b")
    assert playout.clears_ns == (10,)


def test_audio_after_a_clear_plays_at_once() -> None:
    """The buffer is empty after a clear."""
    playout = Playout()
    playout.receive(ramp(80_000), 0)
    playout.clear(500_000_000)
    playout.receive(ramp(160), 510_000_000)
    assert playout.received[-1].play_ns == 510_000_000
    assert playout.received[0].played_samples == 4000


def test_more_than_ten_minutes_are_discarded() -> None:
    """The message that does not fit is refused and leaves a record that nothing of it was played; the next may fit."""
    playout = Playout()
    assert playout.receive(ramp(MAX_BUFFERED_NS // NS_PER_SAMPLE), 0)
    assert not playout.receive(ramp(1), 0)
    assert playout.received[-1].played_samples == 0
    assert playout.end_ns == MAX_BUFFERED_NS
    assert playout.receive(ramp(1), NS_PER_SAMPLE)
