"""The caller's audio by sample number, and when each piece of it came."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.inbound import Arrivals, CallerAudio, Continuity, to_float
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import InboundMedia


def test_audio_is_addressed_by_sample_number():
    """Samples count from the stream's first, whatever the sizes of the messages."""
    audio = CallerAudio(1000)
    audio.add(bytes(range(100)))
    audio.add(bytes(range(100, 250)))
    assert audio.end == 250
    assert audio.codes(90, 110) == bytes(range(90, 110))


def test_old_audio_is_forgotten_and_numbers_stay():
    """No more than twice what is to be kept is held, and sample numbers do not move."""
    audio = CallerAudio(100)
    for value in range(50):
        audio.add(bytes([value]) * 10)
    assert audio.end == 500
    assert audio.codes(495, 500) == b"\x31" * 5
    assert audio.codes(400, 402) == b"\x28" * 2
    assert audio.codes(0, 10) == b""


def test_the_message_of_a_sample_is_known():
    """The arrival of sample n's message is that of the first message whose end is at or after n."""
    arrivals = Arrivals()
    for chunk in range(1, 4):
        arrivals.add(chunk, chunk * 160, chunk * 1000)
    assert [arrivals.time_of_sample(end) for end in (1, 160, 161, 480, 481)] == [1000, 1000, 2000, 3000, None]


def test_only_the_last_eight_seconds_without_a_gap_are_reported():
    """Numbers that skip end the row, and so does age."""
    arrivals = Arrivals()
    for chunk in (1, 2, 5, 6):
        arrivals.add(chunk, chunk * 160, chunk)
    assert arrivals.recent_times() == (5, (5, 6))
    for chunk in range(7, 1500):
        arrivals.add(chunk, chunk * 160, chunk)
    first, times = arrivals.recent_times()
    assert (first, len(times), times[-1]) == (1100, 400, 1499)


def test_no_arrivals_no_row():
    """Before any audio there is nothing to tell."""
    assert Arrivals().recent_times() == (0, ())


def test_full_scale_is_one():
    """μ-law's largest code is just under 1."""
    largest = mulaw.encode(np.array([32767], np.int16))
    assert 0.97 < to_float(largest)[0] < 1


def frame(chunk: int, timestamp_ms: int, samples: int = 160) -> InboundMedia:
    return InboundMedia("MZ1", chunk + 1, chunk, timestamp_ms, b"\xff" * samples)


def list_missing(*frames: InboundMedia) -> list[int | None]:
    continuity = Continuity()
    return [continuity.missing_samples(each) for each in frames]


def test_nothing_is_missing_between_frames_that_follow_each_other():
    """Whatever the first timestamp, the frame lengths, and a few milliseconds of wavering."""
    assert list_missing(frame(1, 137), frame(2, 157), frame(3, 180), frame(4, 199, 320), frame(5, 237)) == [0] * 5


def test_a_hole_is_as_long_as_the_timestamps_say():
    """Three frames lost are 480 samples, once; what follows is in its place."""
    assert list_missing(frame(1, 100), frame(5, 180), frame(6, 200)) == [0, 480, 0]


def test_a_repeated_frame_is_recognised():
    """A repetition of the last message returns None; a sender that numbers nothing does not count as repeating."""
    assert list_missing(frame(1, 100), frame(1, 100), frame(2, 120)) == [0, None, 0]
    assert list_missing(frame(1, 100), frame(1, 120), frame(1, 140)) == [0, 0, 0]


def test_an_impossible_timestamp_is_ignored():
    """Neither a jump of hours nor one back makes silence; counting begins anew from it."""
    assert list_missing(frame(1, 100), frame(2, 9_000_000), frame(3, 9_000_020)) == [0, 0, 0]
    assert list_missing(frame(1, 5000), frame(2, 100), frame(3, 120), frame(5, 160)) == [0, 0, 0, 160]


TIMESTAMPS = st.integers(0, 40_000) | st.integers(0, 10**18)


@given(st.lists(st.tuples(st.integers(0, 10**18), TIMESTAMPS, st.integers(0, 400)), max_size=20))
def test_no_message_makes_more_silence_than_the_longest_hole(messages):
    """Whatever the numbers, from 0 to 10 s of silence each."""
    for gap in list_missing(*(frame(*message) for message in messages)):
        assert gap is None or 0 <= gap <= Continuity.MAX_FILL_SAMPLES


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_positions_stay_right_whatever_is_lost(arrives):
    """After any losses the end of the audio is where the sender's clock says, counted from the first frame."""
    continuity, end, first = Continuity(), 0, None
    for index, present in enumerate(arrives):
        if present:
            first = index if first is None else first
            end += (continuity.missing_samples(frame(index + 1, 100 + 20 * index)) or 0) + 160
            assert end == (index + 1 - first) * 160
