"""The onset of a reply: where it is, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.onset import (
    AUDIBLE_DBFS,
    LEVEL_FRAME_NS,
    LEVEL_FRAME_SAMPLES,
    Segment,
    audible_frames,
    find_onset,
    levels_dbfs,
)
from turngap.model.records import Pcm16

LOUD = 3000


def tone(samples: int, amplitude: int = LOUD) -> Pcm16:
    """A square wave: its RMS is its amplitude."""
    return np.where(np.arange(samples) % 8 < 4, amplitude, -amplitude).astype(np.int16)


def silence(samples: int) -> Pcm16:
    return np.zeros(samples, np.int16)


@given(head=st.integers(0, 4000), body=st.integers(640, 4000), start=st.integers(0, 10**12))
def test_onset_is_the_frame_where_sound_begins(head: int, body: int, start: int) -> None:
    """The onset is less than a frame before the first loud sample, or a frame after it when it hardly fills one."""
    onset = find_onset([Segment(start, np.concatenate([silence(head), tone(body)]))])
    assert onset is not None
    assert -LEVEL_FRAME_NS < onset - (start + head * 125_000) < LEVEL_FRAME_NS
    assert (onset - start) % LEVEL_FRAME_NS == 0


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
    """From inside a sound, the onset is the next frame of the same grid at or after that moment."""
    segment = Segment(1_000, tone(8000))
    onset = find_onset([segment], 1_000 + cut * 125_000)
    assert onset == 1_000 + -(-cut // LEVEL_FRAME_SAMPLES) * LEVEL_FRAME_NS


@given(
    pieces=st.lists(st.tuples(st.integers(1, 500), st.integers(1, 400), st.booleans()), max_size=12),
    from_ns=st.integers(0, 500_000_000),
)
def test_onset_is_audible_and_not_before_the_search(pieces: list[tuple[int, int, bool]], from_ns: int) -> None:
    """Whatever was played, an onset is the start of an audible frame at or after the search's beginning."""
    segments, at = [], 0
    for samples, hole, loud in pieces:
        segments.append(Segment(at, tone(samples) if loud else silence(samples)))
        at = segments[-1].end_ns + hole * 125_000
    onset = find_onset(segments, from_ns)
    if onset is not None:
        assert onset >= from_ns
        assert onset in audible_frames(segments).start_ns


def test_nothing_played_is_no_onset() -> None:
    """No audio, and empty audio, have none."""
    assert find_onset([]) is None
    assert find_onset([Segment(5, silence(0))]) is None
    assert len(levels_dbfs(silence(0))) == 0
