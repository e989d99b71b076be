"""Engines that are stuck: when one is, what takes its place, and when nothing can."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from turngap_agent import deadlines, loading, memory, profile, replacements, tracing, worker
from turngap_agent.deadlines import EngineFailure, StageError
from turngap_agent.engines import Placement
from turngap_agent.errors import EngineError, ProfileError
from turngap_agent.gpu.usage import Memory
from turngap_agent.loading import Engines
from turngap_agent.meter import Meter
from turngap_agent.replacements import MARGIN, MISSES, RESERVE_MIB, Replacements
from turngap_agent.stt import Transcript
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.telemetry.metrics import LoopLag, Metrics

from tests.pipeline.conftest import PATIENCE_S, wait_until

pytestmark = pytest.mark.anyio
TOOK_MIB = 100.0
"""What the first engine took."""
NEEDED_MIB = MARGIN * TOOK_MIB + RESERVE_MIB
LATE = deadlines.late("stt", 50, "stt_ms")
STUCK = "stt: its engine is stuck; start the agent again"


class StuckHearing(ScriptedSpeechToText):
    """Its thread does not return until it is `released`."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted", delay_ms=0))
        self.thread, self.released = worker.make_thread("stuck"), threading.Event()

    async def transcribe(self, audio: Any) -> Transcript:
        await worker.run(self.thread, self.released.wait, PATIENCE_S)
        return Transcript("too late")


async def test_a_stuck_engine_is_replaced_and_running_calls_are_answered(serve, monkeypatch) -> None:
    """Until the fresh one is warm, turns fail at once and the agent is not ready; then every call has it."""
    may_build, build = asyncio.Event(), loading.load_one

    async def load_one(settings: Any) -> Any:
        await may_build.wait()
        return await build(settings)

    monkeypatch.setattr(loading, "load_one", load_one)
    stuck = StuckHearing()
    soon = ("deadlines.stt_ms=300", "deadlines.stuck_ms=20", "deadlines.failed_turns=null")
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve(*soon, stt=stuck))
        phone, other = [await stack.enter_async_context(served.phone(name)) for name in "12"]
        web = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}"))
        apology = b"".join(served.agent.announcements["apology"])
        assert (await web.get("/readyz")).status_code == 200
        for _ in range(2):
            await phone.ask()
            assert (await phone.reply())[1] == apology
            await wait_until(lambda: served.agent.overseer.problem)
        answer = await web.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "stt: its engine is being replaced\n")
        may_build.set()
        await wait_until(lambda: not served.agent.overseer.problem)
        assert (await web.get("/readyz")).status_code == 200
        for caller in (phone, other):
            await caller.ask()
            assert apology not in (await caller.reply())[1]
        await phone.hang_up()
        await wait_until(lambda: served.traces.calls)
        assert served.count("turngap_engine_replacements_total", stage="stt", result="replaced") == 1
        assert served.agent.engines.stt is not stuck
        stuck.released.set()
    assert [turn.attributes.get(tracing.FAULT_KIND) for turn in served.traces.turns[:3]] == [
        "deadline",
        "replaced",
        None,
    ]


class Watched:
    """The replacements of one engine of `settings`, without an agent around it."""

    def __init__(self, *overrides: str, engine: Any = None, settings: Any = None, on_gpu_mib: float = 0.0) -> None:
        chosen = profile.load("scripted", overrides)
        self.first = engine or ScriptedSpeechToText(chosen.stt)
        self.engines = Engines(
            None,
            self.first,
            None,
            None,
            models={},
            memory_mib={"stt": on_gpu_mib},
            gpu=SimpleNamespace(choice="the card"),
            settings={"stt": settings or chosen.stt},
            host_mib={"stt": TOOK_MIB},
        )
        self.metrics = Metrics(LoopLag(), lambda: 0, lambda: 0)
        self.replacements = Replacements(chosen, self.engines, self.metrics)

    async def miss(self, count: int = MISSES) -> None:
        """So many deadlines are missed; return when nothing is being built."""
        for _ in range(count):
            self.replacements.note_fault(LATE, Meter())
        await self.settled()

    async def settled(self) -> None:
        """Return when nothing is watched or built."""
        await wait_until(lambda: not self.replacements._tasks)

    def count(self, result: str) -> float:
        """How many replacements ended so."""
        text = self.metrics.exposition().decode()
        lines = [line for line in text.splitlines() if f'result="{result}"' in line and "_total" in line]
        return sum(float(line.split()[-1]) for line in lines)


async def test_an_engine_that_stops_in_time_stays() -> None:
    """One that works on for a while after its deadline, or for a call that was cancelled, is slow and not stuck."""
    watched, work = Watched(), Meter()
    with work.busy():
        watched.replacements.note_fault(LATE, work)
        watched.replacements.note_cancelled("stt", work, 100)
        await asyncio.sleep(0.01)
    for _ in range(2):
        watched.replacements.note_answer("stt")
        await watched.miss(MISSES - 1)
    assert (watched.engines.stt, watched.replacements.problem) == (watched.first, "")


@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_engine_that_works_on_for_too_long_is_replaced(cancelled: bool) -> None:
    """After a missed deadline, or for a call that was cancelled."""
    watched, work = Watched("deadlines.stuck_ms=5"), Meter()
    with work.busy():
        if cancelled:
            watched.replacements.note_cancelled("stt", work, 1)
        else:
            watched.replacements.note_fault(LATE, work)
        await watched.settled()
    assert watched.engines.stt is not watched.first
    assert watched.count("replaced") == 1


@pytest.mark.parametrize(
    ("free_mib", "result"), [(NEEDED_MIB - 1, "refused"), (NEEDED_MIB, "replaced"), (None, "replaced")]
)
async def test_memory_must_allow_a_fresh_one(monkeypatch, caplog, free_mib: float | None, result: str) -> None:
    """A quarter more than the first one took, and a reserve; refused once and counted once, until it answers again."""
    monkeypatch.setattr(memory, "available_mib", lambda: free_mib)
    watched = Watched()
    for _ in range(2):
        await watched.miss()
    assert watched.count(result) == (2 if result == "replaced" else 1)
    assert (watched.engines.stt is watched.first) == (result == "refused")
    assert watched.replacements.problem == (STUCK if result == "refused" else "")
    watched.replacements.check("stt")  # a stuck engine that cannot be replaced is still asked: it may come back
    assert ("it needs 381 MiB of memory, and 380 are free" in caplog.text) == (result == "refused")
    watched.replacements.note_answer("stt")
    assert watched.replacements.problem == ""


@pytest.mark.parametrize(("used_mib", "result"), [(76, "refused"), (75, "replaced")])
async def test_the_gpus_memory_must_allow_it_too(monkeypatch, used_mib: float, result: str) -> None:
    """As much as the first one took of it, and a quarter."""
    monkeypatch.setattr(replacements, "read_memory", lambda choice: Memory(choice, 200, used_mib))
    watched = Watched(on_gpu_mib=100)
    await watched.miss()
    assert watched.count(result) == 1


async def test_replacements_have_a_bound(caplog) -> None:
    """Each may leave a thread and its memory behind."""
    watched = Watched("deadlines.replacements=2")
    for _ in range(4):
        await watched.miss()
    assert (watched.count("replaced"), watched.count("refused")) == (2, 1)
    assert watched.replacements.problem == STUCK
    assert "2 were replaced already (deadlines.replacements)" in caplog.text


async def test_an_engine_elsewhere_is_not_replaced() -> None:
    """A server that this process only asks."""

    class Remote(ScriptedSttSettings):
        def placement(self) -> Placement:
            return Placement.REMOTE

    watched = Watched(settings=Remote(engine="scripted"))
    await watched.miss()
    assert (watched.engines.stt, watched.count("refused")) == (watched.first, 1)


class Restartable(ScriptedSpeechToText):
    """Ends its stuck work itself."""

    def __init__(self) -> None:
        super().__init__(ScriptedSttSettings(engine="scripted"))
        self.restarts = 0

    async def restart(self) -> None:
        self.restarts += 1


async def test_an_engine_that_restarts_itself_stays_and_needs_no_memory(monkeypatch) -> None:
    """However often: it leaves nothing behind."""
    monkeypatch.setattr(memory, "available_mib", lambda: 0.0)
    engine = Restartable()
    watched = Watched("deadlines.replacements=0", engine=engine)
    for _ in range(3):
        await watched.miss()
    assert (watched.engines.stt, engine.restarts, watched.count("replaced")) == (engine, 3, 3)


async def raise_engine_error(settings: Any) -> Any:
    raise EngineError("stt: its weights are gone")


async def hang(settings: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("load", "line"),
    [(raise_engine_error, "no fresh engine: EngineError: stt: its weights are gone"), (hang, "TimeoutError")],
)
async def test_a_fresh_engine_that_does_not_load_is_a_line_and_a_problem(monkeypatch, caplog, load, line) -> None:
    """Nor is it waited for longer than an agent may take to start; the next misses have it tried again."""
    monkeypatch.setattr(loading, "load_one", load)
    watched = Watched("limits.ready_within_s=0.01")
    await watched.miss()
    assert (watched.engines.stt, watched.count("failed")) == (watched.first, 1)
    assert watched.replacements.problem == STUCK
    assert line in caplog.text
    monkeypatch.undo()
    await watched.miss()
    assert (watched.count("replaced"), watched.replacements.problem) == (1, "")


async def test_nothing_is_asked_of_an_engine_that_is_being_replaced(monkeypatch) -> None:
    """Its stage fails at once; others do not notice. Closing ends the building."""
    monkeypatch.setattr(loading, "load_one", hang)
    watched = Watched()
    for _ in range(MISSES):
        watched.replacements.note_fault(LATE, Meter())
    with pytest.raises(StageError) as refused:
        watched.replacements.check("stt")
    assert (refused.value.stage, refused.value.kind) == ("stt", EngineFailure.REPLACED)
    watched.replacements.check("llm")
    await watched.replacements.close()
    assert watched.replacements._tasks == set()


async def test_a_spare_takes_the_place_of_a_stuck_engine_at_once(monkeypatch) -> None:
    """Nothing is loaded before that; the next spare is built afterwards, and closing closes it."""
    watched, closed = Watched("deadlines.spares=[stt]"), []

    async def close(engine: Any) -> None:
        closed.append(engine)

    monkeypatch.setattr(ScriptedSpeechToText, "close", close)
    await watched.replacements.keep_spares()
    may_build, build = asyncio.Event(), loading.load_one

    async def load_one(settings: Any) -> Any:
        await may_build.wait()
        return await build(settings)

    monkeypatch.setattr(loading, "load_one", load_one)
    for _ in range(MISSES):
        watched.replacements.note_fault(LATE, Meter())
    await wait_until(lambda: not watched.replacements.problem)
    second = watched.engines.stt
    assert second is not watched.first
    assert watched.count("replaced") == 1
    may_build.set()
    await watched.settled()
    await watched.miss()
    assert watched.engines.stt not in (watched.first, second)
    await watched.replacements.close()
    assert len(closed) == 1
    assert closed[0] is not watched.engines.stt


async def test_no_spare_is_lost_where_the_next_engine_is_stuck_before_it_is_there(monkeypatch, caplog) -> None:
    """A fresh engine takes its place, and no second spare is built. One that fails to close stops nothing else."""
    watched, built, closed = Watched("deadlines.spares=[stt]"), [], []

    async def close(engine: Any) -> None:
        closed.append(engine)
        raise RuntimeError("it cannot")

    monkeypatch.setattr(ScriptedSpeechToText, "close", close)
    await watched.replacements.keep_spares()
    may_build, build = asyncio.Event(), loading.load_one

    async def load_one(settings: Any) -> Any:
        await may_build.wait()
        built.append(await build(settings))
        return built[-1]

    monkeypatch.setattr(loading, "load_one", load_one)
    for _ in range(MISSES):
        watched.replacements.note_fault(LATE, Meter())
    await wait_until(lambda: not watched.replacements.problem)
    for _ in range(MISSES):
        watched.replacements.note_fault(LATE, Meter())
    assert watched.replacements.problem
    may_build.set()
    await watched.settled()
    assert watched.count("replaced") == 2
    await watched.replacements.close()
    assert len(closed) == 1
    assert {id(engine) for engine in built} == {id(watched.engines.stt), id(closed[0])}
    assert len(built) == 2
    assert "a spare engine does not close: RuntimeError: it cannot" in caplog.text


async def test_a_spare_needs_memory(monkeypatch, caplog) -> None:
    """Without it the agent does not start; later, the next stuck engine is replaced by one that has to load."""
    monkeypatch.setattr(memory, "available_mib", lambda: NEEDED_MIB - 1)
    watched = Watched("deadlines.spares=[stt]")
    with pytest.raises(EngineError, match=r"deadlines\.spares: stt: it needs 381 MiB of memory, .* leave it out"):
        await watched.replacements.keep_spares()
    monkeypatch.setattr(memory, "available_mib", lambda: NEEDED_MIB)
    await watched.replacements.keep_spares()
    monkeypatch.setattr(memory, "available_mib", lambda: NEEDED_MIB - 1)
    await watched.miss()
    assert (watched.count("replaced"), watched.count("refused")) == (1, 0)
    assert "stt: no further spare: it needs 381 MiB" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (("deadlines.spares=[turn]",), "turn: this profile loads no such engine"),
        (("deadlines.spares=[llm]", "llm.own_process=true"), "llm: scripted works in another process"),
    ],
)
def test_a_spare_is_of_an_engine_in_the_agents_process(overrides: tuple[str, ...], part: str) -> None:
    """Otherwise the profile is refused, in one line."""
    with pytest.raises(ProfileError, match=re.escape(part)) as refused:
        profile.load("scripted", overrides)
    assert "\n" not in str(refused.value)
