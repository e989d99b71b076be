"""Joins: pauses exactly as long as requested, where the record says they are; labels that they do not move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.caller.onset import levels_dbfs, locate_end
from turngap.corpus.audio_sources import SourceAudio
from turngap.corpus.clips import make_clip
from turngap.corpus.concatenation import join_speech, normalise
from turngap.corpus.labels import label_speech, speech_threshold_dbfs
from turngap.model.records import Clip, Pcm16
from turngap_agent.errors import ScenarioError


def word(samples: int, seed: int) -> Pcm16:
    """Noise with a syllable's rhythm that begins and stops dead, and silence around it."""
    rng = np.random.default_rng(seed)
    rhythm = 0.55 + 0.45 * np.sin(np.arange(samples) / 8000 * 2 * np.pi * 4 + rng.uniform(0, 6))
    body = rng.standard_normal(samples) * rhythm * 3000
    return np.concatenate([np.zeros(960), body, np.zeros(1600)]).clip(-32_768, 32_767).astype(np.int16)


def join(parts: list[Pcm16], gaps_ms: list[int] | None) -> Clip:
    clip = make_clip("c", [SourceAudio(part, "word", "test", synthetic=False) for part in parts], gaps_ms=gaps_ms)
    assert isinstance(clip, Clip)
    return clip


WORDS = st.lists(st.tuples(st.integers(2000, 9000), st.integers(0, 999)), min_size=2, max_size=5)


@given(WORDS, st.data())
@settings(max_examples=40, deadline=None)
def test_pauses_are_as_long_as_requested_and_where_the_clip_says(
    words: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Every gap of 200 ms and more is recorded, to the sample; comfort noise is in it, speech around it."""
    gaps = data.draw(st.lists(st.integers(0, 1500), min_size=len(words) - 1, max_size=len(words) - 1))
    clip = join([word(*one) for one in words], gaps)
    assert [(end - start) / 8 for start, end in clip.pauses] == [gap for gap in gaps if gap >= 200]
    for start, end in clip.pauses:
        assert levels_dbfs(clip.pcm[start : end - end % 80]).max() < -55
        assert levels_dbfs(clip.pcm[start - 400 : start]).max() > -40
        assert levels_dbfs(clip.pcm[end : end + 400]).max() > -40


@given(WORDS, st.integers(250, 1200))
@settings(max_examples=40, deadline=None)
def test_pauses_do_not_move_the_end_of_speech(words: list[tuple[int, int]], gap_ms: int) -> None:
    """The clip still ends with its last sample of speech, whatever is between its parts, and is as much longer."""
    parts = [word(*one) for one in words]
    paused, plain = join(parts, [gap_ms] * (len(parts) - 1)), join(parts, [0] * (len(parts) - 1))
    for clip in (paused, plain):
        label = label_speech(clip.pcm)
        assert label is not None
        assert label.end_sample == len(clip.pcm)
        assert locate_end(clip.pcm[-80:], speech_threshold_dbfs(clip.pcm)) == 80
    assert abs(len(paused.pcm) - len(plain.pcm) - (len(parts) - 1) * gap_ms * 8) <= 80
    assert abs(paused.speech_start_sample - plain.speech_start_sample) <= 80


def test_without_gaps_the_seed_settles_them_under_what_counts_as_a_pause() -> None:
    """120-160 ms, the same for the same seed, none of them a pause."""
    parts = [word(3000, 1), word(3000, 2), word(3000, 3)]
    one, same, other = join_speech("a", parts), join_speech("a", parts), join_speech("b", parts)
    assert np.array_equal(one.pcm, same.pcm)
    assert not np.array_equal(one.pcm[:20_000], other.pcm[:20_000])
    assert one.pauses == ()


def test_a_part_without_speech_is_refused() -> None:
    """It would be a pause that the scenario does not have."""
    with pytest.raises(ScenarioError, match="no speech"):
        join_speech("a", [word(3000, 1), normalise(np.zeros(4000, np.int16))], [300])
