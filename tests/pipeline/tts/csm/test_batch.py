"""Frames of several calls in one pass of the depth decoder: each call's codes are those that it has alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.execution import Execution, Mode
from turngap_agent.tts.csm.batch import FrameBatch
from turngap_agent.tts.csm.context import SpeechPlan
from turngap_agent.tts.csm.engine import Csm
from turngap_agent.tts.csm.fast_paths import FastPaths
from turngap_agent.tts.csm.settings import CsmSettings
from turngap_agent.tts.csm.slot import SharedParts, Slot

if TYPE_CHECKING:
    from conftest import MakeSpeech
    from turngap_agent.tts.csm.speech import Speech

BATCHED = FastPaths(batched=True)


def plans(count: int, frames: int = 9) -> list[SpeechPlan]:
    """Return plans of other lengths, so that the calls are at other positions."""
    return [SpeechPlan((), tuple(range(20, 30 + 4 * number)), frames - number) for number in range(count)]


def read_alone(speech: Speech, plan: SpeechPlan, seed: int) -> list[Any]:
    with speech.execution.activate():
        slot = speech.slots[0]
        slot.start(plan, seed)
        frames = []
        while (samples := slot.next_frame()) is not None:
            frames.append((samples, slot.last_codes().tolist()))
    return frames


def read_together(speech: Speech, chosen: list[SpeechPlan]) -> list[list[Any]]:
    """Start each call a frame after the one before it, and read them in turn until all have ended."""
    batch, slots = speech.batch, speech.slots
    assert batch is not None
    frames: list[list[Any]] = [[] for _ in chosen]
    speaking: list[Slot] = []
    with speech.execution.activate():
        while len(speaking) < len(chosen) or any(slot.wants_launch() for slot in speaking):
            if len(speaking) < len(chosen):
                slots[len(speaking)].start(chosen[len(speaking)], seed=len(speaking))
                speaking.append(slots[len(speaking)])
            for number, slot in enumerate(speaking):
                if (samples := batch.next_frame(slot, speaking)) is not None:
                    frames[number].append((samples, slot.last_codes().tolist()))
    return frames


@pytest.mark.parametrize(("calls", "temperature"), [(2, 0.0), (3, 0.9), (5, 0.9)])
def test_calls_in_a_batch_have_the_codes_each_has_alone(
    make_speech: MakeSpeech, calls: int, temperature: float
) -> None:
    """Whatever their number, also one that is no size of a batch, and with calls that begin and end meanwhile."""
    speech = make_speech(temperature=temperature, slots=calls, fast=BATCHED)
    together = read_together(speech, plans(calls))
    for number, plan in enumerate(plans(calls)):
        alone = read_alone(speech, plan, number)
        assert len(together[number]) == len(alone) == plan.frames
        for (samples, codes), (expected, expected_codes) in zip(together[number], alone, strict=True):
            np.testing.assert_allclose(samples, expected, atol=1e-4)
            assert codes == expected_codes


def test_a_pass_serves_all_calls_that_have_room(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four calls in step: a pass for each four frames, none for one alone."""
    speech, launched = make_speech(slots=4, fast=BATCHED), []
    launch = FrameBatch.launch
    monkeypatch.setattr(
        FrameBatch, "launch", lambda batch, slots: (launched.append(len(slots)), launch(batch, slots))[1]
    )
    plan = SpeechPlan((), tuple(range(20, 30)), 6)
    with speech.execution.activate():
        for slot in speech.slots:
            slot.start(plan, seed=0)
        for _ in range(6):
            for slot in speech.slots:
                assert speech.batch is not None
                assert speech.batch.next_frame(slot, speech.slots) is not None
    assert launched == [4] * 5  # the first frame of each is its own


def test_one_call_alone_takes_the_reference_way(make_speech: MakeSpeech) -> None:
    """Bit for bit; and with one slot there is no batch."""
    assert make_speech(slots=1, fast=BATCHED).batch is None
    speech = make_speech(temperature=0.9, slots=2, fast=BATCHED)
    expected = read_alone(make_speech(temperature=0.9), plans(1)[0], 0)
    actual = read_together(speech, plans(1))[0]
    assert all(np.array_equal(one, other) for (one, _), (other, _) in zip(expected, actual, strict=True))


def test_batched_units_compile_once(make_speech: MakeSpeech) -> None:
    """Without a graph break; a frame of two calls has the eager codes."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    speech, counter = make_speech(slots=2, fast=BATCHED), CompileCounter()
    execution = Execution(torch.device("cpu"), Mode.COMPILED, counter)
    with execution.activate():
        parts = SharedParts.build(speech.backbone, speech.depth, speech.codec, execution, speech.positions, 0)
        before = counter.frame_count
        FrameBatch(parts, 2)
    assert counter.frame_count - before == 2  # the first position, and a step


def test_clauses_of_several_calls_share_passes(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the engine: the audio of each is what it is alone, and most frames were launched with others."""
    launched: list[int] = []
    launch = FrameBatch.launch
    monkeypatch.setattr(
        FrameBatch, "launch", lambda batch, slots: (launched.append(len(slots)), launch(batch, slots))[1]
    )
    texts = ["Good morning to you.", "The pool opens at seven.", "Your room is ready."]

    async def work() -> tuple[list[Any], list[Any], int]:
        settings = CsmSettings(engine="csm", device="cpu", slots=3, max_frames=12, scheduling="batched")
        assert settings.fast_paths == BATCHED
        engine = Csm(settings, make_speech(temperature=0.9, slots=3, fast=BATCHED))

        async def speak(text: str) -> Any:
            return np.concatenate([piece async for piece in engine.speak(text)])

        alone = [await speak(text) for text in texts]
        launched.clear()
        together = list(await asyncio.gather(*map(speak, texts)))
        await engine._on_device(lambda: None)
        free = len(engine._free)
        assert engine._speaking == []
        await engine.close()
        return alone, together, free

    alone, together, free = asyncio.run(asyncio.wait_for(work(), 60))
    assert free == 3
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert sum(count for count in launched if count > 1) > sum(launched) / 2
