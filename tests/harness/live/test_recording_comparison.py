"""Pins that no recording stays at Twilio: whatever ends a call, whatever its state; what is left is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from turngap.live.call_runner import CallRunner
from turngap.live.fake.call import Recording
from turngap.live.masking import Masker
from turngap.live.twilio_api import RefusedError
from turngap.live.twilio_recordings import TwilioRecordings
from turngap.scenario import PlannedCall, Turn
from turngap.session.run_record import Progress
from turngap_agent.errors import LiveError

from tests.harness.live.fake_account import FakeAccount, fake_account

pytestmark = [  # what twilio 9.13 does is deprecated in aiohttp 3.14
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated"),
]
PLANNED = PlannedCall(0, (Turn(id="burst", say="noise"),), probe=False)


async def nothing() -> None:
    """No pause."""


async def recorded(on: FakeAccount) -> str:
    """A call that has a recording."""
    sid = await on.twilio.create(on.call_request(record=True))
    on.fake.recordings["RE" + "0" * 32] = Recording("RE" + "0" * 32, sid, b"")
    return sid


@pytest.mark.parametrize("fault", [asyncio.CancelledError(), LiveError("a machine answered"), RuntimeError("a bug")])
def test_a_call_that_fails_leaves_no_recording(fault: BaseException) -> None:
    """After Ctrl-C, voicemail or an error of ours it is deleted all the same, and the exception is raised."""

    class Failing(CallRunner):
        async def _place(self, planned: Any, responder: Any, dialled: list[str], *, record: bool) -> Any:
            assert record
            dialled.append(await recorded(on_(self)))
            raise fault

    async def run() -> None:
        async with fake_account() as on:
            calls = make_runner(Failing, on)
            with pytest.raises(type(fault)):
                await calls.run_all()
            assert not on.fake.recordings
            assert calls.progress.notes == []

    asyncio.run(run())


def test_an_interrupted_call_is_scored_before_the_run_ends() -> None:
    """What was finished in it is kept, its recording is deleted, and no further call is placed."""
    done: list[str] = []

    class Interrupted(CallRunner):
        async def _place(self, planned: Any, responder: Any, dialled: list[str], *, record: bool) -> Any:
            done.append("placed")
            dialled.append(await recorded(on_(self)))
            self.placer.stop.set()

        async def _score(self, planned: Any, placed: Any) -> None:
            done.append("scored")

    async def run() -> None:
        async with fake_account() as on:
            calls = make_runner(Interrupted, on, calls=(PLANNED, PLANNED))
            with pytest.raises(LiveError, match="its finished turns are kept"):
                await calls.run_all()
            assert not on.fake.recordings

    asyncio.run(run())
    assert done == ["placed", "scored"]


def test_an_echo_is_never_recorded() -> None:
    """Nobody would read it."""
    recorded_calls: list[bool] = []

    class Noted(CallRunner):
        async def _place(self, planned: Any, responder: Any, dialled: list[str], *, record: bool) -> Any:
            recorded_calls.append(record)
            raise LiveError("enough")

    async def run() -> None:
        async with fake_account() as on:
            calls = make_runner(Noted, on, calls=())
            with pytest.raises(LiveError, match="enough"):
                await calls.run_all()

    asyncio.run(run())
    assert recorded_calls == [False]


def test_an_undeleted_recording_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it was tried again and again."""
    tried = 0

    async def run() -> str:
        nonlocal tried
        async with fake_account() as on:
            sid = await recorded(on)
            send = on.twilio.request

            async def failing(what: str, request: Callable[[], Awaitable[Any]]) -> Any:
                nonlocal tried
                if what == "deleting the recording":
                    tried += 1
                    raise RefusedError("Twilio: still in progress")
                return await send(what, request)

            monkeypatch.setattr(on.twilio, "request", failing)
            return await TwilioRecordings(on.twilio).delete_all(sid, nothing)

    assert "still in progress" in asyncio.run(run())
    assert tried > 1


def on_(calls: CallRunner) -> FakeAccount:
    return cast(Any, calls.placer).on  # type: ignore[no-any-return]


def make_runner(kind: type[CallRunner], on: FakeAccount, calls: tuple[PlannedCall, ...] = (PLANNED,)) -> CallRunner:
    order = SimpleNamespace(
        record=True, caller_leg_only=True, echo=PLANNED, masker=Masker(), request=SimpleNamespace(calls=calls)
    )
    phone = SimpleNamespace(twilio=on.twilio, clock=on.clock, on=on, stop=asyncio.Event())
    given = cast(Any, (order, {}, phone, None, None, Progress(), None, on.scheduler, None))
    return kind(*given)
