"""The onset of a reply: where it is, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.onset import (
    AUDIBLE_DBFS,
    DBM0_OVER_DBFS,
    LEVEL_FRAME_NS,
    LEVEL_FRAME_SAMPLES,
    Segment,
    audible_frames,
    find_onset,
    format_level,
    levels_dbfs,
    locate_end,
    locate_start,
)
from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import Pcm16
from turngap_agent.telephony import mulaw

LOUD = 3000


def tone(samples: int, amplitude: int = LOUD) -> Pcm16:
    """A square wave: its RMS is its amplitude."""
    return np.where(np.arange(samples) % 8 < 4, amplitude, -amplitude).astype(np.int16)


def silence(samples: int) -> Pcm16:
    return np.zeros(samples, np.int16)


@given(head=st.integers(0, 4000), body=st.integers(640, 4000), start=st.integers(0, 10**12))
def test_onset_is_the_first_sample_of_the_sound(head: int, body: int, start: int) -> None:
    """Wherever in a 10 ms frame a sound starts: to the sample."""
    onset = find_onset([Segment(start, np.concatenate([silence(head), tone(body)]))])
    assert onset == start + head * NS_PER_SAMPLE


@given(
    head=st.integers(0, 400),
    level_dbfs=st.floats(-40, -6),
    frequency_hz=st.floats(150, 2000),
    phase=st.floats(0, 2 * np.pi),
)
def test_onset_of_a_sine_is_within_a_quarter_of_its_period(
    head: int, level_dbfs: float, frequency_hz: float, phase: float
) -> None:
    """A sine's samples are quiet around its zeros: its onset is at most that much later, and never earlier."""
    peak = 32_768 * 10 ** (level_dbfs / 20) * np.sqrt(2)
    sine = np.rint(peak * np.sin(2 * np.pi * frequency_hz * np.arange(1600) / 8000 + phase)).clip(-32_768, 32_767)
    onset = find_onset([Segment(0, np.concatenate([silence(head), sine.astype(np.int16)]))])
    assert onset is not None
    late = onset // NS_PER_SAMPLE - head
    assert 0 <= late <= 1 + 8000 / frequency_hz / 4


@given(head=st.integers(0, 2000), seed=st.integers(0, 2**32 - 1))
def test_noise_before_a_sound_is_not_its_onset(head: int, seed: int) -> None:
    """A line that is never silent (-60 dBFS, μ-law) moves the onset by a fraction of a millisecond at most."""
    noise = np.random.default_rng(seed).normal(0, 32.768, head + 1600)
    pcm = np.rint(noise).astype(np.int16)
    pcm[head:] += tone(1600)
    onset = find_onset([Segment(0, mulaw.decode(mulaw.encode(pcm)))])
    assert onset is not None
    assert abs(onset // NS_PER_SAMPLE - head) <= 4


@pytest.mark.parametrize("attack_ms", [5, 20, 60])
@pytest.mark.parametrize("head", [0, 13, 79])
def test_a_soft_onset_is_where_its_envelope_reaches_the_threshold(attack_ms: int, head: int) -> None:
    """A swelling tone (linear attack): within a millisecond of the sample at which its level is -45 dBFS."""
    envelope = np.minimum(1, np.arange(3200) / (attack_ms * 8))
    onset = find_onset([Segment(0, np.concatenate([silence(head), np.rint(envelope * tone(3200)).astype(np.int16)]))])
    assert onset is not None
    truth = head + attack_ms * 8 * 32_768 * 10 ** (AUDIBLE_DBFS / 20) / LOUD
    assert abs(onset // NS_PER_SAMPLE - truth) <= 8


@given(st.integers(0, 800), st.integers(1, 2000), st.integers(0, 800))
def test_the_end_mirrors_the_start(head: int, body: int, tail: int) -> None:
    """Up to the last sample of the sound, not including the next; nothing over the threshold has neither."""
    pcm = np.concatenate([silence(head), tone(body), silence(tail)])
    assert locate_start(pcm[: head + body], AUDIBLE_DBFS) == head
    assert locate_end(pcm[head:], AUDIBLE_DBFS) == body
    assert (locate_start(silence(head), AUDIBLE_DBFS), locate_end(silence(head), AUDIBLE_DBFS)) == (head, 0)


def test_levels_in_dbm0_are_those_of_the_digital_milliwatt() -> None:
    """The sequence of ITU-T G.711, table 6, is 0 dBm0 by definition."""
    milliwatt = mulaw.decode(bytes([0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E]) * 10)
    assert levels_dbfs(milliwatt)[0] + DBM0_OVER_DBFS == pytest.approx(0, abs=0.005)
    assert format_level(-45) == "-45 dBFS (-39 dBm0)"


@given(head=st.integers(0, 60))
def test_silence_at_the_head_is_no_answer(head: int) -> None:
    """Whole silent frames at the head move the onset by exactly their length."""
    pcm = np.concatenate([silence(head * LEVEL_FRAME_SAMPLES), tone(800)])
    assert find_onset([Segment(0, pcm)]) == head * LEVEL_FRAME_NS


@pytest.mark.parametrize(("frames", "is_onset"), [(1, False), (3, False), (4, True), (7, True)])
def test_onset_needs_30_ms_more_in_the_next_60(frames: int, is_onset: bool) -> None:
    """A click, or up to 30 ms of sound, is no answer; a frame with 30 ms after it is."""
    pcm = np.concatenate([silence(800), tone(frames * LEVEL_FRAME_SAMPLES), silence(1600)])
    assert (find_onset([Segment(0, pcm)]) is not None) is is_onset


def test_click_before_speech_is_passed_over() -> None:
    """A lone click 100 ms before the speech does not become the onset."""
    pcm = np.concatenate([tone(80), silence(800), tone(800)])
    assert find_onset([Segment(0, pcm)]) == 11 * LEVEL_FRAME_NS


def test_sustained_sound_may_have_gaps() -> None:
    """30 ms of the next 60 ms suffice, wherever they lie."""
    frame, pause = tone(80), silence(80)
    assert find_onset([Segment(0, np.concatenate([frame, pause, frame, pause, frame, pause, frame]))]) == 0


def test_one_frame_then_a_stall_is_answered_after_the_stall() -> None:
    """20 ms of sound followed by a hole in the playout is no onset; the sound after the hole is."""
    segments = [Segment(0, tone(160)), Segment(500_000_123, tone(800))]
    assert find_onset(segments) == 500_000_123


def test_short_pieces_with_small_holes_add_up() -> None:
    """Sound that arrives in pieces, each played as it arrives, is one onset: at the first piece."""
    segments = [Segment(7 + piece * 25_000_000, tone(160)) for piece in range(4)]
    assert find_onset(segments) == 7


@pytest.mark.parametrize(("offset_db", "is_onset"), [(-0.1, False), (0.1, True)])
def test_level_is_minus_45_dbfs(offset_db: float, is_onset: bool) -> None:
    """Just below the level nothing is heard, just above it is."""
    amplitude = 32_768 * 10 ** ((AUDIBLE_DBFS + offset_db) / 20)
    pcm = tone(1600, round(amplitude + (0.5 if is_onset else -0.5)))
    assert (find_onset([Segment(0, pcm)]) is not None) is is_onset


@given(cut=st.integers(0, 3000))
def test_search_begins_at_the_given_time(cut: int) -> None:
    """From inside a sound, the onset is that very moment."""
    segment = Segment(1_000, tone(8000))
    assert find_onset([segment], 1_000 + cut * NS_PER_SAMPLE) == 1_000 + cut * NS_PER_SAMPLE


@given(
    pieces=st.lists(st.tuples(st.integers(1, 500), st.integers(1, 400), st.booleans()), max_size=12),
    from_ns=st.integers(0, 500_000_000),
)
def test_onset_is_audible_and_not_before_the_search(pieces: list[tuple[int, int, bool]], from_ns: int) -> None:
    """Whatever was played, an onset lies in an audible frame or the one before it, at or after the search's start."""
    segments, at = [], 0
    for samples, hole, loud in pieces:
        segments.append(Segment(at, tone(samples) if loud else silence(samples)))
        at = segments[-1].end_ns + hole * 125_000
    onset = find_onset(segments, from_ns)
    if onset is not None:
        assert onset >= from_ns
        into_ns = onset - audible_frames(segments).start_ns
        assert np.any((into_ns >= -LEVEL_FRAME_NS) & (into_ns < LEVEL_FRAME_NS))
        assert any(segment.start_ns <= onset < segment.end_ns for segment in segments)


def test_nothing_played_is_no_onset() -> None:
    """No audio, and empty audio, have none."""
    assert find_onset([]) is None
    assert find_onset([Segment(5, silence(0))]) is None
    assert len(levels_dbfs(silence(0))) == 0
