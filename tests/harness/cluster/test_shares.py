"""Shares: every call once, warm-ups with the first caller, what a lost one leaves, and a hash that sees the audio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap.cluster.shares import CallerLog, divide_calls, hash_plan
from turngap.corpus.clips import Corpus
from turngap.model.records import Clip
from turngap.scenario import PlannedCall, Scenario, Turn

TURN = Turn(id="a", say="Hello there.")
CALLS = tuple(PlannedCall(index, (TURN,), probe=True, warm_up=index < 2) for index in range(9))


@given(st.integers(0, 40), st.integers(0, 3), st.integers(1, 12), st.integers(1, 9))
def test_every_call_is_placed_once(n_calls: int, warm_ups: int, slots: int, callers: int) -> None:
    """By no more callers than there are simultaneous calls; these add up, and none is left out."""
    calls = [PlannedCall(index, (TURN,), probe=True, warm_up=index < warm_ups) for index in range(warm_ups + n_calls)]
    portions = divide_calls(calls, slots, callers)
    assert sorted(call.index for portion in portions for call in portion.calls) == [call.index for call in calls]
    assert all(portion.slots >= 1 and portion.calls for portion in portions)
    assert not portions or sum(portion.slots for portion in portions) == slots
    sizes = [sum(not call.warm_up for call in portion.calls) for portion in portions]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert not any(call.warm_up for portion in portions[1:] for call in portion.calls)


def test_a_lost_caller_leaves_what_has_not_ended() -> None:
    """Its calls under way are named; a warm-up call is not placed again."""
    log = CallerLog({call.index: call for call in CALLS})
    for index in (0, 1, 2, 3, 4):
        log.begin(index)
    for index in (0, 2):
        log.end(index)
    assert log.running == (1, 3, 4)
    assert [call.index for call in log.remaining] == [3, 4, 5, 6, 7, 8]


def test_the_hash_sees_what_is_said_and_each_sample() -> None:
    """Two plans that differ in one sample, or in one word, differ; the same ones do not."""
    clip = Clip("a", np.arange(100, dtype=np.int16), 0, "hello", 0.0, 0.0, "made", synthetic=True)
    scenario = Scenario(name="s", turns=(TURN,))
    corpus = Corpus({"a": clip}, (), scenario)
    same = Corpus({"a": replace(clip, pcm=clip.pcm.copy())}, (), scenario)
    assert hash_plan(CALLS, corpus) == hash_plan(CALLS, same)
    pcm = clip.pcm.copy()
    pcm[50] += 1
    assert hash_plan(CALLS, corpus) != hash_plan(CALLS, Corpus({"a": replace(clip, pcm=pcm)}, (), scenario))
    other = replace(CALLS[3], turns=(TURN.model_copy(update={"say": "Hello."}),))
    assert hash_plan(CALLS, corpus) != hash_plan((*CALLS[:3], other, *CALLS[4:]), corpus)
