"""The caller's turn logic, frame by frame on times that the test makes: when it speaks, waits, and hangs up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.caller.conversation import PATIENCE_NS, PROBE_NS
from turngap.clock import NS_PER_MS
from turngap.scenario import QUIET_MS, Expectation

from tests.harness.caller.conversations import CLIP, FRAME, START, Call, sound


@given(st.integers(0, 1500), st.integers(0, 10**6))
@settings(max_examples=50)
def test_the_first_utterance_follows_the_pause(pause_ms: int, seed: int) -> None:
    """It begins within two frames after the pause, never before, and is in the line sample by sample."""
    call = Call({"pause_ms": pause_ms}, seed=seed)
    call.lead(pause_ms + 400)
    begins_ms = call.last.start_sample / 8
    assert pause_ms <= begins_ms < pause_ms + 40
    line = np.concatenate(call.line)
    assert np.array_equal(line[call.last.start_sample : call.last.end_sample], CLIP.pcm)
    assert np.count_nonzero(line) == len(CLIP.pcm)


def test_speech_ends_anywhere_on_the_frame_grid() -> None:
    """Over many seeds, t0 falls into every eighth of a frame about equally often."""
    ends = []
    for seed in range(400):
        call = Call({"pause_ms": 100}, seed=seed)
        call.lead(200)
        ends.append(call.last.end_sample % 160)
    counts = np.histogram(ends, bins=8, range=(0, 160))[0]
    assert counts.min() > 25


@given(st.integers(0, 1500))
@settings(max_examples=50)
def test_on_the_grid_speech_ends_with_a_frame(pause_ms: int) -> None:
    """Whatever the pause, t0 is a frame's end, and the pause is kept."""
    call = Call({"pause_ms": pause_ms}, on_grid=True)
    call.lead(pause_ms + 400)
    assert call.last.end_sample % 160 == 0
    assert pause_ms <= call.last.start_sample / 8 < pause_ms + 40


def test_it_waits_for_the_answer_until_the_deadline() -> None:
    """Without an answer in that time the call is over, or the next turn is played after its pause."""
    call = Call({"pause_ms": 0}, {"pause_ms": 500})
    call.lead(3100)
    assert len(call.talk.spoken) == 1
    deadline = call.last.reply_deadline_ns
    assert deadline == call.time_ns(call.last.end_sample) + 3000 * NS_PER_MS
    call.lead(1000)
    assert len(call.talk.spoken) == 2
    assert 500 <= (call.time_ns(call.last.start_sample) - deadline) / NS_PER_MS < 540
    call.lead(10_000)
    assert call.over_ns is not None
    assert 0 <= call.over_ns - call.last.reply_deadline_ns <= FRAME


@pytest.mark.parametrize("gap_ms", [0, 100, 550])
def test_a_gap_between_clauses_is_no_end(gap_ms: float) -> None:
    """A reply in pieces continues until it has been quiet for 600 ms."""
    call = Call({"pause_ms": 0}, {"pause_ms": 0})
    call.lead(400)
    call.hear(sound(300))
    call.lead(300 + gap_ms)
    call.hear(sound(300))
    end_ns = call.playout.end_ns
    call.lead(2000)
    assert len(call.talk.spoken) == 2
    assert call.time_ns(call.last.start_sample) >= end_ns + QUIET_MS * NS_PER_MS
    assert call.time_ns(call.last.start_sample) < end_ns + QUIET_MS * NS_PER_MS + 3 * FRAME


def test_a_caller_may_take_a_shorter_quiet_for_the_end() -> None:
    """The sentinel's does, whose agent never hesitates: the next utterance follows sooner."""
    call = Call({"pause_ms": 0}, {"pause_ms": 0}, quiet_ms=200)
    call.lead(400)
    call.hear(sound(300))
    end_ns = call.playout.end_ns
    call.lead(2000)
    assert 200 * NS_PER_MS <= call.time_ns(call.last.start_sample) - end_ns < 200 * NS_PER_MS + 3 * FRAME


def test_the_pause_counts_from_the_end_of_the_reply() -> None:
    """A pause over 600 ms is kept whole, from the last audible sample: silence at its end does not count."""
    call = Call({"pause_ms": 0}, {"pause_ms": 1500})
    call.lead(400)
    call.hear(np.concatenate([sound(200), np.zeros(4000, np.int16)]))
    end_ns = call.playout.end_ns - 500 * NS_PER_MS
    call.lead(4000)
    assert 1500 <= (call.time_ns(call.last.start_sample) - end_ns) / NS_PER_MS < 1540


def test_an_agent_that_marks_its_ends_is_waited_for() -> None:
    """Audio newer than the last mark: the caller waits past 600 ms for the mark, but not past 3 s."""
    call = Call({"pause_ms": 0}, {"pause_ms": 0}, {"pause_ms": 0})
    call.playout.add_mark("greeting", START)
    call.lead(400)
    call.hear(sound(200))
    call.lead(2000)
    assert len(call.talk.spoken) == 1
    call.playout.add_mark("end", call.now_ns)
    call.lead(100)
    assert len(call.talk.spoken) == 2
    call.lead(300)
    call.hear(sound(200))
    call.lead(3300)
    assert len(call.talk.spoken) == 3


def test_an_agent_that_streams_silence_is_quiet() -> None:
    """Buffered silence is no speech: an agent that never stops sending does not hold the caller up."""
    call = Call({"pause_ms": 300}, {"pause_ms": 0})
    for step in range(300):
        call.hear(sound(20) if 40 <= step < 60 else np.zeros(160, np.int16))
        call.lead(20)
    assert len(call.talk.spoken) == 2


def test_a_probe_hangs_up_half_a_second_after_the_answer_begins() -> None:
    """Not on a click, and not before the answer is audible."""
    call = Call({"pause_ms": 0}, probe=True)
    call.lead(400)
    call.hear(sound(20))
    call.lead(200)
    call.hear(np.concatenate([np.zeros(800, np.int16), sound(3000)]))
    onset_ns = call.playout.received[-1].play_ns + 100 * NS_PER_MS
    call.lead(2000)
    assert call.over_ns is not None
    assert 0 <= call.over_ns - (onset_ns + PROBE_NS) <= FRAME


def test_a_probe_without_an_answer_hangs_up_at_the_deadline() -> None:
    """A missed turn costs its own time and no more."""
    call = Call({"pause_ms": 0}, probe=True)
    call.lead(10_000)
    assert call.over_ns is not None
    assert 0 <= call.over_ns - call.last.reply_deadline_ns <= FRAME


def test_speech_over_the_caller_is_not_its_answer() -> None:
    """What the agent says before the end of speech does not end the wait for an answer."""
    call = Call({"pause_ms": 0}, probe=True)
    call.lead(40)
    call.hear(sound(60))
    call.lead(2000)
    assert call.over_ns is None
    call.hear(sound(300))
    call.lead(1000)
    assert call.over_ns is not None


def test_a_cleared_reply_is_over_where_it_was_cut() -> None:
    """After a clear, quiet counts from the clear, not from where the audio would have ended."""
    call = Call({"pause_ms": 0}, {"pause_ms": 0})
    call.lead(400)
    call.hear(sound(20_000))
    call.lead(500)
    call.playout.clear(call.now_ns)
    cleared_ns = call.now_ns
    call.lead(1000)
    assert len(call.talk.spoken) == 2
    assert call.time_ns(call.last.start_sample) < cleared_ns + QUIET_MS * NS_PER_MS + 3 * FRAME


def test_a_greeting_is_let_finish() -> None:
    """The first utterance waits for 600 ms of quiet, or its own pause where that is longer."""
    call = Call({"pause_ms": 900})
    call.lead(100)
    call.hear(sound(1500))
    end_ns = call.playout.end_ns
    call.lead(4000)
    assert 900 <= (call.time_ns(call.last.start_sample) - end_ns) / NS_PER_MS < 940


def test_an_endless_reply_is_talked_into() -> None:
    """After 30 s the caller continues, and a note reports it."""
    call = Call({"pause_ms": 0}, {"pause_ms": 0})
    call.lead(400)
    call.hear(sound(60_000))
    call.lead(31_000)
    assert len(call.talk.spoken) == 2
    assert call.time_ns(call.last.start_sample) >= call.playout.received[0].play_ns + PATIENCE_NS
    assert "over 30 s" in call.talk.notes[0]


def test_a_silent_turn_is_listened_through() -> None:
    """A silent turn lasts its silence and its time, then the next begins."""
    silent = {"say": None, "silence_ms": 500, "agent": "wait"}
    call = Call({"pause_ms": 0, "answer_within_ms": 1000, **silent}, {"pause_ms": 0})
    call.lead(3000)
    first, second = call.talk.spoken
    assert first.expectation is Expectation.WAIT
    assert 0 <= call.time_ns(second.start_sample) - first.reply_deadline_ns < 3 * FRAME


def with_clip(**keys: Any) -> Call:
    """A call of two turns whose first clip has something more."""
    call = Call({"pause_ms": 400}, {"pause_ms": 0})
    call.talk._clips = {**call.talk._clips, "turn 0": replace(CLIP, **keys)}
    return call


def test_noise_continues_behind_the_turn_and_ends_with_it() -> None:
    """It follows the pause before the utterance and the wait for its answer, in one piece from the utterance on."""
    bed = np.arange(1, 3001, dtype=np.int16)
    call = with_clip(bed=bed)
    call.lead(4200)
    first, second = call.talk.spoken
    line = np.concatenate(call.line)
    assert line[: first.start_sample].all()
    over = (first.end_sample - first.start_sample + np.arange(8000)) % len(bed)
    assert np.array_equal(line[first.end_sample : first.end_sample + 8000], bed[over])
    assert np.array_equal(line[first.start_sample : first.end_sample], CLIP.pcm)
    assert not line[second.end_sample :].any()
    assert len(line) > second.end_sample


def test_keys_are_reported_with_the_frame_they_end_in() -> None:
    """Each once, in order, in the frame that holds its sample."""
    call = with_clip(keys=((10, "1"), (500, "2"), (505, "#")))
    released = []
    for _ in range(100):
        call.lead(20)
        released += [(call.frame - 1, digit) for digit in call.talk.keys_released_in(call.frame - 1)]
    start = call.talk.spoken[0].start_sample
    assert released == [((start + 10) // 160, "1"), ((start + 500) // 160, "2"), ((start + 505) // 160, "#")]
