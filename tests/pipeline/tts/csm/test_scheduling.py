"""Whose frame is computed next: first frames before later ones, and none ahead of time while someone waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.tts.csm.device_queue import Urgency
from turngap_agent.tts.csm.engine import Csm
from turngap_agent.tts.csm.settings import CsmSettings
from turngap_agent.tts.csm.slot import Slot

if TYPE_CHECKING:
    from conftest import MakeSpeech


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def make_csm(make_speech: MakeSpeech, scheduling: str, slots: int = 3) -> Csm:
    options = {"engine": "csm", "device": "cpu", "slots": slots, "max_frames": 8, "scheduling": scheduling}
    return Csm(CsmSettings(**options), make_speech(temperature=0.9, slots=slots))


class Blocked:
    """The device's thread at work until the block ends: what is asked for meanwhile waits."""

    def __init__(self, engine: Csm) -> None:
        self._engine, self._end, self._entered = engine, threading.Event(), threading.Event()

    async def __aenter__(self) -> None:
        def work() -> None:
            self._entered.set()
            self._end.wait(30)

        self._engine._queue.submit(Urgency.FIRST_FRAME, work)
        await asyncio.to_thread(self._entered.wait, 30)

    async def __aexit__(self, *_: object) -> None:
        self._end.set()


async def wait_for_work(engine: Csm, count: int) -> None:
    """Return when so many jobs wait for the device."""
    while len(engine._queue._waiting) < count:  # noqa: ASYNC110 - the queue is a thread's
        await asyncio.sleep(0.001)


def record(engine: Csm, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of what the device did: "first" and "later" frames, in their order."""
    order: list[str] = []
    opened, next_frame = engine._open, engine._next_frame
    opening: list[bool] = []

    def open_clause(*all_: Any) -> Any:
        order.append("first")
        opening.append(True)
        try:
            return opened(*all_)
        finally:
            opening.pop()

    def read_frame(slot: Slot) -> Any:
        if not opening:
            order.append("later")
        return next_frame(slot)

    monkeypatch.setattr(engine, "_open", open_clause)
    monkeypatch.setattr(engine, "_next_frame", read_frame)
    return order


@pytest.mark.parametrize(
    ("scheduling", "expected"),
    [("first_frames_first", ["first", "later", "later"]), ("in_turn", ["later", "later", "first"])],
)
def test_a_first_frame_that_arrives_last_goes_first(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch, scheduling: str, expected: list[str]
) -> None:
    """Two calls wait for a later frame when a third one's text arrives: it goes before both, or by default after."""

    async def work() -> list[str]:
        engine = make_csm(make_speech, scheduling)
        calls = [engine.speak(text) for text in ("Good morning to you.", "The pool opens at seven.", "Your room.")]
        for call in calls[:2]:
            await anext(call)
        order = record(engine, monkeypatch)
        async with Blocked(engine):
            frames = [asyncio.ensure_future(anext(call)) for call in calls]
            await wait_for_work(engine, 3)
        await asyncio.gather(*frames)
        done = order[:3]
        for call in calls:
            await call.aclose()
        await engine.close()
        return done

    assert run(work()) == expected


@pytest.mark.parametrize(("scheduling", "ahead"), [("first_frames_first", [False, True]), ("in_turn", [True, True])])
def test_nothing_is_launched_ahead_while_someone_waits(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch, scheduling: str, ahead: list[bool]
) -> None:
    """Of two frames that wait, the first is computed without the one after it; the last one may look ahead."""
    asked: list[bool] = []
    next_frame = Slot.next_frame

    def recording(slot: Slot, *, look_ahead: bool = True) -> Any:
        asked.append(look_ahead)
        return next_frame(slot, look_ahead=look_ahead)

    async def work() -> None:
        engine = make_csm(make_speech, scheduling)
        calls = [engine.speak(text) for text in ("Good morning to you.", "The pool opens at seven.")]
        for call in calls:
            await anext(call)
        monkeypatch.setattr(Slot, "next_frame", recording)
        async with Blocked(engine):
            frames = [asyncio.ensure_future(anext(call)) for call in calls]
            await wait_for_work(engine, 2)
        await asyncio.gather(*frames)
        for call in calls:
            await call.aclose()
        await engine.close()

    run(work())
    assert asked == ahead
