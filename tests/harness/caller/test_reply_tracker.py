"""What the caller hears during a call: shortcuts find what the definitions find, whatever the messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.caller import background, reply_tracker
from turngap.caller.background import LevelFrames
from turngap.caller.onset import AUDIBLE_DBFS, energies_dbfs, frame_energies, least_energy_over, levels_dbfs
from turngap.caller.playout import Playout
from turngap.caller.reply_tracker import ReplyTracker
from turngap.clock import NS_PER_MS
from turngap.model.records import Pcm16

START = 5_000_000_000
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 37, 79, 80, 100, 160, 161, 400]),  # samples
        st.sampled_from([0, 30, 110, 150, 184, 190, 300, 5000]),  # amplitude: about -45 dBFS, far under it, far over it
        st.integers(0, 60),  # ms until the next one
    ),
    max_size=40,
)


def play(messages: Sequence[tuple[int, int, int]], seed: int) -> list[int | None]:
    """Return the onset that a tracker finds at each frame of the caller."""
    playout, rng = Playout(), np.random.default_rng(seed)
    tracker = ReplyTracker(playout)
    tracker.expect_onset_from(START + 30 * NS_PER_MS)
    found: list[int | None] = []
    now_ns, ahead = START, list(messages)
    next_ns = START
    while ahead or now_ns < next_ns + 400 * NS_PER_MS:
        while ahead and next_ns <= now_ns:
            samples, amplitude, gap_ms = ahead.pop(0)
            playout.receive((rng.choice([-1, 1], samples) * amplitude).astype(np.int16), next_ns)
            next_ns += gap_ms * NS_PER_MS
        tracker.update()
        found.append(tracker.find_onset_ns(now_ns))
        now_ns += 20 * NS_PER_MS
    return found


@given(MESSAGES, st.integers(0, 99))
@settings(max_examples=150)
def test_where_no_frame_can_be_audible_none_is_looked_for(messages: list[tuple[int, int, int]], seed: int) -> None:
    """An onset is found when it is found without that shortcut, and is the same."""
    found = play(messages, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reply_tracker, "FRAMES_TOUCHED", 1e30)  # then only a message of zeros is passed over
        assert play(messages, seed) == found


def test_a_sound_shorter_than_a_frame_in_each_message_is_heard() -> None:
    """Single messages of 5 ms are frames that are half silence; together they are a reply."""
    assert any(at_ns is not None for at_ns in play([(40, 200, 5)] * 60, 1))


@given(st.lists(st.integers(-32768, 32767), max_size=400), st.integers(-32768, 32767))
def test_levels_are_those_of_the_definition(samples: list[int], last: int) -> None:
    """RMS of 10 ms frames re full scale, bit for bit: energies are whole numbers."""
    pcm = np.array([*samples, last], np.int16)
    padded = np.zeros(-(-len(pcm) // 80) * 80)
    padded[: len(pcm)] = pcm
    power = np.square(padded / 32768.0).reshape(-1, 80).mean(axis=1)
    expected = 10 * np.log10(np.maximum(power, 1e-12))
    assert np.array_equal(levels_dbfs(pcm), expected)
    assert frame_energies(pcm).tolist() == [int(e) for e in np.square(padded.reshape(-1, 80)).sum(axis=1)]


@given(st.floats(-80, -1) | st.just(AUDIBLE_DBFS))
def test_the_least_audible_energy_is_just_over_the_level(dbfs: float) -> None:
    """One less is not over it."""
    least = least_energy_over(dbfs)
    below, at = energies_dbfs(np.array([least - 1, least]))
    assert below <= dbfs < at


def find_steady(frames: LevelFrames, is_audible: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """`background._find_steady`, piece by piece."""
    power = np.convolve(10 ** (frames.dbfs / 10), np.ones(5) / 5, "same")
    smoothed = 10 * np.log10(power + 1e-12)
    pieces = []
    for first in range(0, len(frames.dbfs) - 59, 30):
        piece = slice(first, first + 60)
        if is_audible[piece].all() and frames.start_ns[first + 59] - frames.start_ns[first] < 65 * 10 * NS_PER_MS:
            low, high = np.percentile(smoothed[first + 2 : first + 58], [2, 98])
            if high - low < 4.0:
                pieces.append((first, first + 60))
    return pieces


@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.sampled_from([-70, -40, -30, -12]), st.integers(0, 9)), min_size=1, max_size=12
    ),
    st.integers(0, 99),
)
def test_steady_sound_is_found_as_piece_by_piece(stretches: list[tuple[int, int, int]], seed: int) -> None:
    """All pieces are examined at once."""
    rng = np.random.default_rng(seed)
    levels = [level + spread * rng.standard_normal(count) for count, level, spread in stretches]
    dbfs = np.concatenate([np.empty(0), *levels])
    start_ns = (
        START + np.arange(len(dbfs)) * 10 * NS_PER_MS + rng.integers(0, 3) * (np.arange(len(dbfs)) // 100) * 10**9
    )
    frames = LevelFrames(start_ns.astype(np.int64), dbfs)
    is_audible = dbfs > AUDIBLE_DBFS
    assert background._find_steady(frames, is_audible) == find_steady(frames, is_audible)


def sound(amplitude: int, samples: int) -> Pcm16:
    return np.full(samples, amplitude, np.int16)


def test_what_a_clear_cuts_off_was_heard_until_then() -> None:
    """The agent is audible until the clear, and not after it."""
    playout = Playout()
    tracker = ReplyTracker(playout)
    playout.receive(sound(5000, 1600), START)
    tracker.update()
    assert tracker.audible_until_ns == START + 200 * NS_PER_MS
    playout.clear(START + 55 * NS_PER_MS)
    tracker.update()
    assert tracker.audible_until_ns == START + 55 * NS_PER_MS
    assert tracker.audible_ns(START, START + 500 * NS_PER_MS) == 55 * NS_PER_MS
