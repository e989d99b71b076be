"""CSM's context: what it contains, and what is left out when it does not fit."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from hypothesis import given, settings
from hypothesis import strategies as st
from turngap_agent.errors import EngineError
from turngap_agent.tts import AudioF32, ContextUtterance
from turngap_agent.tts.csm.context import Segment, SegmentStore, plan_speech, resample

NO_AUDIO = np.zeros(0, np.float32)


def segment(name: str, positions: int) -> Segment:
    """Return a segment with ten positions of text; the others are audio and its end mark."""
    return Segment(name.encode(), (1,) * 10, torch.zeros(positions - 11, 4, dtype=torch.long))


def test_a_segment_is_its_text_its_audio_and_an_end_mark() -> None:
    """Without audio there is no end mark either."""
    assert segment("a", 50).positions == 50
    assert Segment(b"b", (1, 2, 3), torch.zeros(0, 4)).positions == 3


def test_the_oldest_turns_are_left_out_and_the_prompt_stays() -> None:
    """1,000 positions of turns, room for 650: the latest two stay, never one without those after it."""
    turns = [segment(name, size) for name, size in (("a", 100), ("b", 500), ("c", 300), ("d", 100))]
    plan = plan_speech(segment("prompt", 150), turns, (1,) * 20, frames=50, positions=870)
    assert [part.key for part in plan.segments] == [b"prompt", b"c", b"d"]


@settings(deadline=None)  # a shared machine pauses
@given(st.lists(st.integers(12, 900), max_size=12), st.integers(1, 60), st.integers(1, 250))
def test_no_plan_is_longer_than_the_model(sizes: list[int], text: int, frames: int) -> None:
    """Whatever the turns: context, text and frames fit 2,048 positions, and one more turn would not have."""
    turns = [segment(str(number), size) for number, size in enumerate(sizes)]
    plan = plan_speech(segment("prompt", 150), turns, (1,) * text, frames, 2048)
    used = sum(part.positions for part in plan.segments) + text + frames
    assert used <= 2048
    kept = plan.segments[1:]
    assert [part.key for part in kept] == [part.key for part in turns[len(turns) - len(kept) :]]
    if len(kept) < len(turns):
        assert used + turns[len(turns) - len(kept) - 1].positions > 2048


def test_a_prompt_that_leaves_no_room_is_one_line() -> None:
    """With what is too long and what to change."""
    with pytest.raises(EngineError, match=r"need 2070 positions.* 2048; shorten the voice prompt"):
        plan_speech(segment("prompt", 1800), (), (1,) * 20, frames=250, positions=2048)


def test_audio_is_encoded_once() -> None:
    """The same utterance is encoded once; other words, another speaker or other sound are encoded anew."""
    encoded: list[int] = []

    def encode(audio: AudioF32, sample_rate: int) -> torch.Tensor:
        encoded.append(sample_rate)
        return torch.zeros(len(audio) // 640, 4, dtype=torch.long)

    store = SegmentStore(lambda speaker, text: (speaker, *text.encode()), encode)
    audio = np.ones(8000, np.float32)
    context = (
        ContextUtterance("caller", "hello", audio),
        ContextUtterance("agent", "hello", audio),
        ContextUtterance("caller", " ", NO_AUDIO),
    )
    first = store.segments(context, {"agent": 0, "caller": 1})
    again = store.segments(context, {"agent": 0, "caller": 1})
    assert [part.text_ids[0] for part in first] == [1, 0]
    assert [part.key for part in first] == [part.key for part in again]
    assert first[0].key != first[1].key
    assert encoded == [8000, 8000]
    store.segment(1, "hello", audio * 2, 8000)
    assert len(encoded) == 3


def test_the_store_drops_the_least_recently_used() -> None:
    """It never has more segments than its capacity."""
    store = SegmentStore(lambda speaker, text: (1,), lambda audio, rate: torch.zeros(1, 4), capacity=3)
    for number in range(10):
        store.segment(0, str(number), NO_AUDIO, 8000)
    assert len(store._segments) == 3


def test_audio_is_resampled_to_the_codecs_rate() -> None:
    """A 1 kHz tone at 8 kHz is the same tone at 24 kHz, within 1 % of its level."""
    seconds = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 1000 * seconds).astype(np.float32)
    up = resample(tone, 8000, 24_000)
    assert up.shape == (24_000,)
    assert up.dtype == np.float32
    expected = np.sin(2 * np.pi * 1000 * np.arange(24_000) / 24_000)
    assert np.abs(up - expected)[600:-600].max() < 0.01


@pytest.mark.parametrize("count", [1, 20, 21, 8000])
def test_the_lines_audio_is_resampled_as_scipy_does(count: int) -> None:
    """Without scipy, which a GPU machine may lack; also audio shorter than the filter."""
    signal = pytest.importorskip("scipy.signal", reason="the reference")
    audio = np.random.default_rng(count).normal(0, 0.1, count).astype(np.float32)
    np.testing.assert_allclose(resample(audio, 8000, 24_000), signal.resample_poly(audio, 3, 1), atol=1e-6)


def test_one_utterance_is_encoded_at_a_time_and_each_call_keeps_its_own() -> None:
    """Until none is left; the store has room for the contexts of as many calls as may speak."""
    encoded: list[int] = []
    store = SegmentStore(lambda speaker, text: (1,), lambda audio, rate: (encoded.append(1), torch.zeros(1, 4))[1])
    store.make_room(12)
    calls = [
        tuple(ContextUtterance("caller", f"{call} {number}", NO_AUDIO) for number in range(8)) for call in range(12)
    ]
    for context in calls:
        before = len(encoded)
        while store.encode_next(context, {"caller": 1}):
            before += 1
            assert len(encoded) == before
    for context in calls:
        assert not store.encode_next(context, {"caller": 1})
    assert len(encoded) == 96
