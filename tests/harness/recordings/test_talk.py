"""Who has the floor: gaps, pauses, yields, holds and backchannels from the stretches of two speakers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.recordings.sides import make_stretch
from turngap.recordings.speech import Stretch
from turngap.recordings.talk import Entry, Side, follow_floor, overlap_ms

LENGTH_MS = 20_000.0


def stretches(*spans: tuple[float, float]) -> tuple[Stretch, ...]:
    return tuple(make_stretch(start_ms, end_ms) for start_ms, end_ms in spans)


def entries(caller: tuple[Stretch, ...], agent: tuple[Stretch, ...]) -> list[tuple[Side, Entry]]:
    return [(spurt.side, spurt.entry) for spurt in follow_floor(caller, agent, LENGTH_MS)]


def test_a_silence_between_speakers_is_a_gap_and_within_one_a_pause() -> None:
    """A pause of a second or more is another spurt of the same turn."""
    caller, agent = stretches((1000, 2000), (2300, 3000), (4200, 5000)), stretches((5600, 7000))
    first, second, answer = follow_floor(caller, agent, LENGTH_MS)
    assert [spurt.entry for spurt in (first, second, answer)] == [Entry.OPENS, Entry.CONTINUES, Entry.GAP]
    assert len(first.stretches) == 2
    assert (answer.start_ms, answer.other_end_ms) == (5600, 5000)


def test_the_holder_yields_if_it_stops_first() -> None:
    """Whether after 100 ms or after two seconds: the newcomer goes on."""
    for stops_ms in (3100, 5000):
        found = entries(stretches((3000, 7000)), stretches((1000, stops_ms)))
        assert found == [(Side.AGENT, Entry.OPENS), (Side.CALLER, Entry.YIELD)]


def test_the_holder_holds_if_the_newcomer_stops_first() -> None:
    """In less than a second it was a backchannel, in more an attempt."""
    agent = stretches((1000, 9000))
    assert entries(stretches((3000, 3400)), agent)[1] == (Side.CALLER, Entry.BACKCHANNEL)
    assert entries(stretches((3000, 4400)), agent)[1] == (Side.CALLER, Entry.HOLD)
    assert entries(agent, stretches((3000, 4400)))[1] == (Side.AGENT, Entry.HOLD)


def test_talk_with_short_pauses_is_one_spurt() -> None:
    """The holder's pause of 900 ms is no yield, and the newcomer's is no end of its talk."""
    agent = stretches((1000, 3400), (4300, 8000))
    assert entries(stretches((3000, 3300)), agent)[1][1] is Entry.BACKCHANNEL
    assert entries(stretches((3500, 3900)), agent)[1][1] is Entry.BACKCHANNEL
    assert entries(stretches((3000, 3200), (4100, 9000)), stretches((1000, 4200)))[1][1] is Entry.YIELD


def test_after_a_backchannel_the_floor_is_still_the_holders() -> None:
    """What the holder says next continues its turn, whatever the pause."""
    found = entries(stretches((3000, 3300)), stretches((1000, 4000), (6000, 7000)))
    assert found[2] == (Side.AGENT, Entry.CONTINUES)


def test_the_end_of_a_recording_decides_nothing() -> None:
    """Where both still talk at its end, neither has stopped."""
    caller, agent = stretches((3000, LENGTH_MS)), stretches((1000, LENGTH_MS))
    assert entries(caller, agent)[1][1] is Entry.UNDECIDED
    assert entries(stretches((3000, LENGTH_MS)), stretches((1000, 5000)))[1][1] is Entry.YIELD


@given(
    st.lists(st.tuples(st.integers(0, 18_000), st.integers(100, 3000)), max_size=8),
    st.lists(st.tuples(st.integers(0, 18_000), st.integers(100, 3000)), max_size=8),
)
def test_all_speech_is_in_some_spurt_and_the_floor_is_always_somebodys(
    caller: list[tuple[int, int]], agent: list[tuple[int, int]]
) -> None:
    """No stretch is lost, the first spurt opens, and a gap follows the other's talk."""

    def lay(pieces: list[tuple[int, int]]) -> tuple[Stretch, ...]:
        placed: list[tuple[float, float]] = []
        for start, length in sorted(pieces):
            at = max(start, placed[-1][1] + 200 if placed else 0)
            placed.append((at, at + length))
        return stretches(*placed)

    both = {Side.CALLER: lay(caller), Side.AGENT: lay(agent)}
    spurts = follow_floor(both[Side.CALLER], both[Side.AGENT], 60_000)
    for side in Side:
        assert tuple(s for spurt in spurts if spurt.side is side for s in spurt.stretches) == both[side]
    assert [spurt.entry for spurt in spurts if spurt.entry is Entry.OPENS] == [Entry.OPENS] * bool(spurts)
    for spurt in spurts:
        if spurt.entry is Entry.GAP:
            assert spurt.other_end_ms is not None
            assert spurt.other_end_ms <= spurt.start_ms
        if spurt.entry is Entry.YIELD:
            assert spurt.other_end_ms is not None
            assert spurt.start_ms < spurt.other_end_ms <= spurt.end_ms


def test_overlap_counts_only_sound() -> None:
    """Pauses are no overlap."""
    assert overlap_ms(stretches((0, 1000), (2000, 3000)), stretches((500, 2500))) == pytest.approx(1000)
