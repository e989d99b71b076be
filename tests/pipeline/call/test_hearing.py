"""The caller's audio by sample number, and when each piece of it came."""

import numpy as np

from pipeline.call.hearing import Arrivals, CallerAudio, to_float
from pipeline.telephony import mulaw


def test_audio_is_found_by_its_sample_number():
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


def test_the_message_of_a_sample_is_found():
    """The arrival of sample n's message is that of the first message whose end is at or after n."""
    arrivals = Arrivals()
    for chunk in range(1, 4):
        arrivals.add(chunk, chunk * 160, chunk * 1000)
    assert [arrivals.of_sample(end) for end in (1, 160, 161, 480, 481)] == [1000, 1000, 2000, 3000, None]


def test_only_the_unbroken_last_eight_seconds_are_told():
    """Numbers that skip end the row, and so does age."""
    arrivals = Arrivals()
    for chunk in (1, 2, 5, 6):
        arrivals.add(chunk, chunk * 160, chunk)
    assert arrivals.unbroken() == (5, (5, 6))
    for chunk in range(7, 1500):
        arrivals.add(chunk, chunk * 160, chunk)
    first, times = arrivals.unbroken()
    assert (first, len(times), times[-1]) == (1100, 400, 1499)


def test_no_arrivals_no_row():
    """Before any audio there is nothing to tell."""
    assert Arrivals().unbroken() == (0, ())


def test_full_scale_is_one():
    """μ-law's largest code is just under 1."""
    largest = mulaw.encode(np.array([32767], np.int16))
    assert 0.97 < to_float(largest)[0] < 1
