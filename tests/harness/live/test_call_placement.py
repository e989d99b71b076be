"""Pins that a call always ends, is entered before it is dialled, and is dialled once; on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
from turngap.calibration.utterances import make_burst
from turngap.caller.scheduler import Scheduler
from turngap.clock import FakeClock
from turngap.live.call_ledger import CallLedger
from turngap.live.call_placement import CallPlacer, FinishedCall
from turngap.live.caller_leg import CallerLeg
from turngap.live.server import LiveServer
from turngap.live.twilio_api import CallRequest, RefusedError, TwilioClient
from turngap.model.records import CallEnd
from turngap.scenario import PlannedCall, Turn
from turngap_agent.errors import LiveError, UsageError

ASKED = CallRequest(
    "+15005550011", "+15005550010", "", "http://127.0.0.1:9/status", 60, record=False, amd_callback=None
)
SID = "CA" + "0" * 32


class Stub:
    """Stands in for the Twilio client; records the operations requested of it."""

    def __init__(self, status: str = "in-progress", fault: BaseException | None = None) -> None:
        self.operations: list[str] = []
        self.state = status
        self._fault = fault
        self.twiml = ""

    async def create(self, call_request: CallRequest) -> str:
        self.operations.append("create")
        self.twiml = call_request.twiml
        if self._fault is not None:
            raise self._fault
        return SID

    async def status(self, sid: str) -> tuple[str, str]:
        return self.state, ""

    async def end(self, sid: str, pause: Callable[[], Awaitable[None]]) -> None:
        self.operations.append("end")
        self.state = "completed"

    async def end_unconfirmed_calls(
        self, to: str, from_: str, since: int, pause: Callable[[], Awaitable[None]]
    ) -> list[str]:
        self.operations.append("end_unconfirmed")
        return [SID]


def place(
    tmp_path: Path,
    stub: Stub,
    clock: FakeClock,
    scene: Callable[[CallerLeg, LiveServer], None] | None = None,
    *,
    stop: asyncio.Event | None = None,
    **limits: int,
) -> FinishedCall:
    async def run() -> FinishedCall:
        scheduler = Scheduler(clock)
        turn = Turn(id="burst", say="noise")
        caller = CallerLeg(
            PlannedCall(0, (turn,), probe=False),
            {"burst": make_burst(200, 1)},
            clock=clock,
            scheduler=scheduler,
            seed=1,
        )
        server = LiveServer("https://a.example", "0" * 32, clock)
        with CallLedger(tmp_path / "calls.json", **limits) as book:
            phone = CallPlacer(
                cast(TwilioClient, stub), server, book, clock, lambda text: None, stop or asyncio.Event()
            )
            placing = asyncio.create_task(phone.place(ASKED, caller, None, []))
            for _ in range(20):
                await asyncio.sleep(0)
            if scene is not None:
                scene(caller, server)
            return await placing

    return asyncio.run(run())


class Standing(FakeClock):
    """A clock on which no sleep ever ends: our own timer never fires."""

    async def sleep_ns(self, duration_ns: int) -> None:
        await asyncio.Event().wait()


def test_a_call_is_entered_before_it_is_dialled(tmp_path: Path) -> None:
    """If the ledger allows no more calls, `create` is never requested."""
    stub = Stub()
    with pytest.raises(UsageError, match="24 hours"):
        place(tmp_path, stub, FakeClock(), calls_a_day=0)
    assert stub.operations == []


def test_our_own_timer_ends_a_call_in_which_nothing_happens(tmp_path: Path) -> None:
    """Before Twilio's limit would."""
    stub = Stub()

    with pytest.raises(LiveError):  # its streams never came
        place(tmp_path, stub, FakeClock())
    assert stub.operations[0] == "create"
    assert "end" in stub.operations
    assert stub.operations.count("create") == 1


@pytest.mark.parametrize("fault", [LiveError("no answer in time"), asyncio.CancelledError(), RuntimeError("a bug")])
def test_a_create_without_an_answer_is_never_repeated(tmp_path: Path, fault: BaseException) -> None:
    """What it may have left ringing is ended instead."""
    stub = Stub(fault=fault)
    with pytest.raises((LiveError, asyncio.CancelledError, RuntimeError)):
        place(tmp_path, stub, Standing())
    assert stub.operations == ["create", "end_unconfirmed"]


def test_a_create_that_was_refused_left_nothing(tmp_path: Path) -> None:
    """Twilio refused: there is no call to end, and the call stays in the ledger."""
    stub = Stub(fault=RefusedError("no"))
    with pytest.raises(RefusedError):
        place(tmp_path, stub, Standing())
    assert stub.operations == ["create"]
    assert (tmp_path / "calls.json").exists()


@pytest.mark.parametrize(("status", "text"), [("busy", "busy"), ("no-answer", "nobody"), ("failed", "connected")])
def test_an_unanswered_call_is_reported_at_once(tmp_path: Path, status: str, text: str) -> None:
    """If no callback arrives, the status is polled."""
    stub = Stub(status=status)

    def changed(caller: CallerLeg, server: LiveServer) -> None:
        assert server.call is not None
        server.call.apply_callback({"CallStatus": "ringing"})

    with pytest.raises(LiveError, match=text):
        place(tmp_path, stub, Standing(), changed)
    assert stub.operations.count("create") == 1


def test_a_call_is_ended_though_its_status_is_unavailable(tmp_path: Path) -> None:
    """A failed look at it keeps no call going."""

    class Blind(Stub):
        async def status(self, sid: str) -> tuple[str, str]:
            raise LiveError("Twilio: the call's status: not reached")

    stub = Blind()

    def breaks(caller: CallerLeg, server: LiveServer) -> None:
        caller.opened.set()  # without a stream, `begin` cannot work

    with pytest.raises(AssertionError):
        place(tmp_path, stub, Standing(), breaks)
    assert stub.operations == ["create", "end"]


def test_a_fault_of_ours_in_mid_call_ends_it(tmp_path: Path) -> None:
    """Whatever it is: the telephone does not go on ringing."""
    stub = Stub()

    def breaks(caller: CallerLeg, server: LiveServer) -> None:
        caller.opened.set()  # without a stream, `begin` cannot work

    with pytest.raises(AssertionError):
        place(tmp_path, stub, Standing(), breaks)
    assert stub.operations == ["create", "end"]


def test_an_interrupted_call_is_ended_and_its_record_returned(tmp_path: Path) -> None:
    """It is not the agent's failure, and the turns that were finished can be scored."""
    stub, stop = Stub(), asyncio.Event()

    def interrupted(caller: CallerLeg, server: LiveServer) -> None:
        caller.begin = stop.set  # type: ignore[method-assign]  # a call that would go on for ever
        caller.opened.set()

    placed = place(tmp_path, stub, Standing(), interrupted, stop=stop)
    assert placed.caller.record.end is CallEnd.INTERRUPTED
    assert stub.operations == ["create", "end"]


def test_a_call_that_only_rings_is_ended_when_interrupted(tmp_path: Path) -> None:
    """Nobody spoke: there is nothing to keep."""
    stub, stop = Stub("ringing"), asyncio.Event()
    with pytest.raises(LiveError, match="interrupted"):
        place(tmp_path, stub, Standing(), lambda caller, server: stop.set(), stop=stop)
    assert stub.operations == ["create", "end"]


def test_a_clock_that_is_set_during_a_call_is_noted(tmp_path: Path) -> None:
    """The wall clock's step is named; durations are not its affair."""

    class Stepped(Standing):
        step_ns = 0

        def unix_ns(self) -> int:
            return super().unix_ns() + self.step_ns

    clock, stub = Stepped(), Stub()

    def sets(caller: CallerLeg, server: LiveServer) -> None:
        clock.step_ns = 3_600 * 10**9
        caller.begin = lambda: caller.end(CallEnd.COMPLETED)  # type: ignore[method-assign]  # a call of no length
        caller.opened.set()

    placed = place(tmp_path, stub, clock, sets)
    assert any("+3600.00 s" in note for note in placed.notes)
    assert placed.caller.record.ended_ns - placed.caller.record.started_ns < 10**9
    assert "nonce" in stub.twiml


def test_a_machine_that_answers_ends_the_call(tmp_path: Path) -> None:
    """Voicemail is not talked to."""
    stub = Stub()

    def answers(caller: CallerLeg, server: LiveServer) -> None:
        assert server.call is not None
        server.call.apply_callback({"AnsweredBy": "machine_start"})

    with pytest.raises(LiveError, match="machine answered"):
        place(tmp_path, stub, Standing(), answers)
    assert stub.operations == ["create", "end"]
