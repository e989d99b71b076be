"""Injected faults: a wrapped engine does all that its own does; a fault strikes the call that asked, at its moment."""

import asyncio
import contextlib
import signal
import sys

import numpy as np
import psutil
import pytest
from turngap_agent import clock, profile
from turngap_agent.engines import EngineKind
from turngap_agent.errors import UsageError
from turngap_agent.inject import Injection, call_faults
from turngap_agent.inject.call_faults import CURRENT, CallFaults, InjectedError
from turngap_agent.inject.engines import wrap_engine
from turngap_agent.llm import GeneratesOnDemand, ReadsAhead, Request
from turngap_agent.server import serve as serving
from turngap_agent.stt import FixedWork, Transcript
from turngap_agent.telephony.faults import Fault, FaultKind, FaultStage, Moment
from turngap_agent.telephony.messages import Clear, OutboundMedia

from tests.pipeline.conftest import wait_until

AUDIO = np.zeros(800, np.float32)
REQUEST = Request("block", (), "hello", 24)
pytestmark = pytest.mark.anyio


def make_engine(stage: EngineKind):
    """The scripted engine of that stage, wrapped, without any delay."""
    settings = profile.load(
        "scripted", ("stt.delay_ms=0", "llm.first_token_ms=0", "llm.token_ms=0", "tts.first_audio_ms=0")
    )
    chosen = {"turn": settings.endpointing.model, **settings.engines()}[stage]
    return wrap_engine(stage, chosen.build())


@contextlib.contextmanager
def asked(stage: str, kind: str, moment: str = "first-word", *, always: bool = False):
    """Within it the test is a call with that fault."""
    faults = CallFaults(Fault(FaultStage(stage), FaultKind(kind), Moment(moment), always))
    token = CURRENT.set(faults)
    try:
        yield faults
    finally:
        CURRENT.reset(token)


@pytest.fixture
def jumping_clock(monkeypatch):
    """The agent's clock, which moves only when someone sleeps."""
    times = [0]

    async def sleep_until_ns(deadline_ns: int) -> None:
        await asyncio.sleep(0)
        times[0] = max(times[0], deadline_ns)

    monkeypatch.setattr(clock, "now_ns", lambda: times[0])
    monkeypatch.setattr(clock, "sleep_until_ns", sleep_until_ns)
    return times


async def ask(engine, stage: str):
    """All that the stage's engine returns."""
    match stage:
        case "stt":
            return await engine.transcribe(AUDIO)
        case "turn":
            return await engine.completeness(AUDIO)
        case "llm":
            return [piece async for piece in engine.reply(REQUEST)]
        case "tts":
            return [piece async for piece in engine.speak("Good morning.")]
        case _:
            return await engine.detector().push(np.full(256, 9000, np.int16))


def test_a_wrapped_engine_has_what_its_own_engine_has():
    """Optional interfaces are found on it exactly if the engine has them, and attributes are the engine's own."""

    class Recites:
        async def transcribe(self, audio):
            return Transcript("heard")

        async def transcribe_as(self, audio, words):
            return Transcript(words)

    assert isinstance(make_engine("llm"), GeneratesOnDemand)
    assert not isinstance(make_engine("llm"), ReadsAhead)
    assert isinstance(wrap_engine("stt", Recites()), FixedWork)
    assert not isinstance(make_engine("stt"), FixedWork)
    assert make_engine("tts").sample_rate == 24_000
    assert make_engine("vad").describe().startswith("energy")


@pytest.mark.parametrize("stage", ["vad", "turn", "stt", "llm", "tts"])
async def test_without_a_fault_the_work_is_the_engines_own(stage):
    """A call that asked for nothing, or for a fault elsewhere, gets what the engine makes."""
    plain, wrapped = make_engine(stage).engine, make_engine(stage)
    expected = await ask(plain, stage)
    with asked("sending", "raise"):
        np.testing.assert_equal(await ask(wrapped, stage), expected)


@pytest.mark.parametrize("stage", ["vad", "turn", "stt", "llm", "tts"])
async def test_a_fault_strikes_once_or_always(stage):
    """Once: the next piece of work is done; always: it fails as well."""
    engine = make_engine(stage)
    with asked(stage, "raise"):
        with pytest.raises(InjectedError):
            await ask(engine, stage)
        assert await ask(engine, stage)
    with asked(stage, "raise", always=True):
        for _ in range(2):
            with pytest.raises(InjectedError):
                await ask(engine, stage)


@pytest.mark.parametrize(
    ("stage", "nothing"), [("vad", []), ("turn", None), ("stt", Transcript("")), ("llm", []), ("tts", [])]
)
async def test_nothing_is_no_result(stage, nothing):
    """The work ends at once."""
    with asked(stage, "nothing"):
        assert await ask(make_engine(stage), stage) == nothing


async def test_garbage_is_no_speech():
    """Numbers that are none, and text without a word."""
    with asked("tts", "garbage"):
        assert not all(np.isfinite(piece).all() for piece in await ask(make_engine("tts"), "tts"))
    with asked("turn", "garbage"):
        assert np.isnan(await ask(make_engine("turn"), "turn"))
    with asked("llm", "garbage"):
        assert not any(piece.isalpha() for piece in await ask(make_engine("llm"), "llm"))
    with asked("vad", "garbage"):
        assert [np.isnan(voicing.probability) for voicing in await ask(make_engine("vad"), "vad")] == [True]


async def test_slow_work_is_late_and_slower_than_speech(jumping_clock):
    """2 s before the first piece, 300 ms before each later one; then all of it has come."""

    class Recites:
        async def reply(self, request):
            yield "Good"
            yield " morning."

    with asked("llm", "slow"):
        assert await ask(wrap_engine("llm", Recites()), "llm") == ["Good", " morning."]
    assert jumping_clock[0] == call_faults.SLOW_NS + 2 * call_faults.SLOW_PIECE_NS


async def test_a_stuck_engine_is_stuck_for_every_call():
    """Its thread never returns: work of other calls waits as well, and each of them can still be cancelled."""
    engine = make_engine("stt")
    with asked("stt", "stuck"):
        first = asyncio.create_task(ask(engine, "stt"))
        await asyncio.sleep(0)
    second = asyncio.create_task(ask(engine, "stt"))
    for task in (first, second):
        done, _ = await asyncio.wait({task}, timeout=0.02)
        assert not done
        task.cancel()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2
    assert await ask(make_engine("stt"), "stt") == Transcript("scripted words")  # a fresh engine is not stuck


async def test_the_process_of_an_engine_is_killed():
    """By SIGKILL; an engine without one cannot be killed."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    engine = make_engine("stt").engine
    engine.process_ids = lambda: [process.pid]
    with asked("stt", "kill"):
        await ask(wrap_engine("stt", engine), "stt")
    assert await process.wait() == -signal.SIGKILL
    engine.process_ids = lambda: [2**22 + 1]  # no process has that number: it ended meanwhile
    with asked("stt", "kill"):
        assert await ask(wrap_engine("stt", engine), "stt")
    with asked("stt", "kill"), pytest.raises(InjectedError, match="no process of its own"):
        await ask(make_engine("stt"), "stt")


async def test_an_engine_with_a_process_is_stuck_there():
    """All threads of the process stand still; who kills it has an engine that works again."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    engine = make_engine("stt").engine
    engine.process_ids = lambda: [process.pid]
    with asked("stt", "stuck"):
        await ask(wrap_engine("stt", engine), "stt")
    await wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    process.kill()
    await process.wait()


async def test_the_moment_is_that_of_the_call():
    """In the middle of a reply: once audio of it was sent. A barge-in: once the agent has fallen silent."""
    sent: list[str] = []

    async def send(text: str) -> None:
        sent.append(text)

    with asked("stt", "raise", "mid-reply") as faults:
        await ask(make_engine("stt"), "stt")
        await faults.watch(send)(OutboundMedia("MZ1", b"\xff" * 160).to_json())
        with pytest.raises(InjectedError):
            await ask(make_engine("stt"), "stt")
    with asked("stt", "raise", "barge-in") as faults:
        await faults.watch(send)(OutboundMedia("MZ1", b"\xff" * 160).to_json())
        await ask(make_engine("stt"), "stt")
        await faults.watch(send)(Clear("MZ1").to_json())
        with pytest.raises(InjectedError):
            await ask(make_engine("stt"), "stt")
    assert len(sent) == 3


async def test_a_reply_that_would_be_over_too_soon_waits_for_its_moment():
    """A model that has generated all of its words before one is heard fails when one is heard."""
    with asked("llm", "raise", "mid-reply") as faults:
        reading = asyncio.create_task(ask(make_engine("llm"), "llm"))
        done, _ = await asyncio.wait({reading}, timeout=0.05)
        assert not done
        await faults.watch(lambda text: asyncio.sleep(0))(OutboundMedia("MZ1", b"\xff").to_json())
        with pytest.raises(InjectedError):
            await reading


@pytest.mark.parametrize(("kind", "n_sent"), [("nothing", 1), ("garbage", 2), ("slow", 2)])
async def test_messages_are_sent_badly(jumping_clock, kind, n_sent):
    """One message with audio is lost, noise, or late; the next is sent as it is."""
    sent: list[str] = []

    async def send(text: str) -> None:
        sent.append(text)

    message = OutboundMedia("MZ1", b"\xff" * 160).to_json()
    with asked("sending", kind) as faults:
        for _ in range(2):
            await faults.watch(send)(message)
    assert len(sent) == n_sent
    assert sent[-1] == message
    assert (sent[0] != message) == (kind == "garbage")


async def test_only_an_agent_that_was_started_for_it_has_faults(serve):
    """The same call is answered by any other agent, whatever it asks for."""
    asks = {"custom_parameters": {"turngap-fault": "stt raise first-word always"}}
    async with serve() as served, served.phone(**asks) as phone:
        await phone.ask()
        assert await phone.reply()
        await phone.hang_up()
        await served.idle()
    assert Injection.parse([]).read_faults(asks["custom_parameters"]) is None


async def test_a_malformed_fault_ends_the_call(serve):
    """The stream is closed as one with a malformed script is."""
    async with serve(faults=True) as served, served.phone(custom_parameters={"turngap-fault": "sst"}) as phone:
        code, reason = await phone.closed()
    assert code == 1008
    assert "turngap-fault" in reason


async def test_a_fault_strikes_only_the_call_that_asked(serve):
    """Beside it another call on the same engines is answered."""
    asks = {"custom_parameters": {"turngap-fault": "stt raise first-word always"}}
    async with serve(faults=True) as served, served.phone("1", **asks) as one, served.phone("2") as other:
        await one.ask()
        await other.ask()
        assert await other.reply()
        await served.ended(2)
        assert served.count("turngap_turns_total", result="failed") == 1
        for phone in (one, other):
            await phone.hang_up()


def test_faults_are_never_offered_to_other_machines(monkeypatch):
    """`--inject-faults` on a public address is refused, signed or not."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    with pytest.raises(UsageError) as refused:
        serving.run("scripted", host="0.0.0.0", port=0, inject_faults=True)
    assert refused.value.code == "usage.inject-faults"
