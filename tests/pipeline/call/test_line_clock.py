"""Silence by the clock, on lines that send frames in time, late, in bursts, or not at all while nobody speaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.inbound import InboundAudio
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import InboundMedia

MS = 1_000_000
LOUD = mulaw.encode(np.full(160, 8000, np.int16))
QUIET = mulaw.SILENCE * 160
Frame = tuple[float, int, bytes]
"""When it arrives, ms; its timestamp, ms; its audio."""


def hear(frames: list[Frame], until_ms: int) -> bytes:
    """The audio of a call whose frames arrive so, with a look at the clock every 20 ms; it starts at 1 s."""
    audio, waiting = InboundAudio(800_000), sorted(frames, key=lambda frame: frame[0])
    for now_ms in range(0, until_ms + 1, 20):
        while waiting and waiting[0][0] <= now_ms:
            at_ms, timestamp_ms, payload = waiting.pop(0)
            chunk = frames.index((at_ms, timestamp_ms, payload)) + 1
            audio.add(InboundMedia("MZ1", chunk + 1, chunk, timestamp_ms, payload), round((1000 + at_ms) * MS))
        audio.fill((1000 + now_ms) * MS)
    return audio.audio.codes(0, audio.audio.end)


def count_loud(codes: bytes) -> int:
    """Frames of the caller's voice."""
    return codes.count(LOUD[:1]) // 160


def spoken(first_ms: int, last_ms: int, payload: bytes = LOUD, *, late_ms: float = 0) -> list[Frame]:
    """Frames of 20 ms, each as soon as it is complete."""
    return [(at + 20 + late_ms, at, payload) for at in range(first_ms, last_ms, 20)]


def test_on_an_ordinary_line_the_clock_adds_nothing():
    """Every frame is on time: the audio is what was sent."""
    frames = [*spoken(0, 400), *spoken(400, 1000, QUIET)]
    assert hear(frames, 1040) == LOUD * 20 + QUIET * 30


def test_a_line_that_sends_nothing_while_its_caller_is_silent_stays_on_time():
    """The silence grows with the clock, and is not counted again when the next frame states it."""
    silent = hear(spoken(0, 400), 2000)
    assert count_loud(silent) == 20
    assert len(silent) == pytest.approx(2000 * 8, abs=40 * 8)
    resumed = hear([*spoken(0, 400), *spoken(2000, 2400)], 2400)
    assert count_loud(resumed) == 40
    assert len(resumed) == pytest.approx(2400 * 8, abs=20 * 8)


def test_timestamps_that_say_nothing_do_not_matter():
    """All zero: the clock alone says how long the silence was."""
    frames = [(at, 0, payload) for at, _, payload in [*spoken(0, 400), *spoken(2000, 2400)]]
    codes = hear(frames, 2400)
    assert count_loud(codes) == 40
    assert len(codes) == pytest.approx(2400 * 8, abs=100 * 8)


def test_silence_that_was_late_is_not_counted_twice():
    """The line stands for 300 ms in a pause, and then sends the pause: it is as long as it was."""
    held = [(max(at, 900.0), stamp, payload) for at, stamp, payload in spoken(400, 1200, QUIET)]
    codes = hear([*spoken(0, 400), *held, *spoken(1200, 1300)], 1320)
    assert count_loud(codes) == 25
    assert len(codes) == pytest.approx(1300 * 8, abs=20 * 8)


def test_no_word_that_was_late_is_lost():
    """The line stands for 300 ms while the caller speaks: every voiced frame is heard, later."""
    held = [(max(at, 900.0), stamp, payload) for at, stamp, payload in spoken(400, 1200)]
    codes = hear([*spoken(0, 400), *held], 1300)
    assert count_loud(codes) == 60


@pytest.mark.parametrize("burst_ms", [100, 200])
def test_a_line_that_sends_in_bursts_is_not_taken_for_silent(burst_ms: int):
    """Five or ten frames at once, or one long one: after the first bursts nothing is added."""
    frames = [(-(-at // burst_ms) * burst_ms, stamp, payload) for at, stamp, payload in spoken(0, 4000)]
    codes = hear(frames, 4000)
    assert count_loud(codes) == 200
    assert codes[-2000 * 8 :] == LOUD * 100


def test_frames_faster_than_real_time_are_ahead_of_the_clock():
    """Ten seconds at once, as a replay sends them: no silence is added before they are over."""
    codes = hear([(5.0, at, LOUD) for at in range(0, 10_000, 20)], 9_900)
    assert codes == LOUD * 500


@given(st.lists(st.floats(0, 90), min_size=50, max_size=50))
def test_jitter_under_the_patience_changes_nothing(delays: list[float]):
    """Frames that are up to 90 ms late, in order: the audio is what was sent."""
    at = np.maximum.accumulate(np.arange(50) * 20.0 + 20 + np.asarray(delays))
    frames = [(float(ms), index * 20, LOUD) for index, ms in enumerate(at)]
    codes = hear(frames, 1000)
    assert count_loud(codes) == sum(ms <= 1000 for ms in at)
    assert set(codes) <= set(LOUD + mulaw.SILENCE)
