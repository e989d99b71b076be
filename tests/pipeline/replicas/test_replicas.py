"""Real replicas by Ray Serve on this machine, with scripted engines: sessions stick, a death costs its turns alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from turngap_agent import loading
from turngap_agent.errors import EngineError
from turngap_agent.llm import Request
from turngap_agent.llm.scripted import ScriptedLlmSettings
from turngap_agent.replicas import session
from turngap_agent.replicas.settings import ReplicatedLlmSettings, ReplicatedSttSettings, Replication
from turngap_agent.stt.scripted import ScriptedSttSettings

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'turngap[cluster]', or tox -e cluster")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
N_REPLICAS = 2
REPLICATION = Replication(number=N_REPLICAS, cpus=0.1, ray="local")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the module: the engines belong to it."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster of this machine, for the module."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, namespace="turngap")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
async def llm(anyio_backend: str, cluster: None) -> AsyncIterator[Any]:
    """A language model of two replicas, which takes a second for its reply."""
    settings = ReplicatedLlmSettings(
        engine="replicas",
        replication=REPLICATION,
        of=ScriptedLlmSettings(engine="scripted", reply="Yes, of course.", first_token_ms=10, token_ms=500),
    )
    engine = await loading.load_one(settings)
    await loading.warm_up_one(settings, engine)
    yield engine
    await engine.close()


async def ask(engine: Any, call: str) -> list[str]:
    """What it replies to a call."""
    session.CURRENT.set(call)
    return [piece async for piece in engine.reply(Request(call, (), "hello", 24))]


async def find_replica(engine: Any, call: str) -> int:
    session.CURRENT.set(call)
    pid: int = await engine.find_replica()
    return pid


async def test_each_call_keeps_to_one_replica(llm: Any) -> None:
    """Also when calls ask at the same time; all replicas are used."""
    calls = [f"CA{index}" for index in range(16)]
    first = await asyncio.gather(*(asyncio.create_task(find_replica(llm, call)) for call in calls))
    again = await asyncio.gather(*(asyncio.create_task(find_replica(llm, call)) for call in calls))
    assert first == again
    assert len(set(first)) == N_REPLICAS
    assert llm.describe().endswith("2 replicas by Ray Serve")


async def test_a_reply_comes_in_pieces(llm: Any) -> None:
    """As in the agent's own process, and while it is generated."""
    loop = asyncio.get_running_loop()
    session.CURRENT.set("CA1")
    times = []
    pieces = []
    async for piece in llm.reply(Request("CA1", (), "hello", 24)):
        pieces.append(piece)
        times.append(loop.time())
    assert pieces == ["Yes,", " of", " course."]
    assert times[-1] - times[0] > 0.5  # the first was here while the last was not made yet


async def test_a_replica_that_dies_costs_its_turn_and_not_the_service(llm: Any) -> None:
    """The turn under way fails; the call's next one, and other calls, are answered."""
    by_call = {f"CA{index}": await find_replica(llm, f"CA{index}") for index in range(16)}
    victim = by_call["CA0"]
    other = next(call for call, pid in by_call.items() if pid != victim)
    session.CURRENT.set("CA0")
    reply = llm.reply(Request("CA0", (), "hello", 24))
    assert await anext(reply) == "Yes,"
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(EngineError, match="llm: its replica failed or died"):
        [piece async for piece in reply]
    assert await ask(llm, other) == ["Yes,", " of", " course."]
    assert await find_replica(llm, other) == by_call[other]
    assert await ask(llm, "CA0") == ["Yes,", " of", " course."]
    assert await find_replica(llm, "CA0") != victim


async def test_speech_to_text_in_replicas(cluster: None) -> None:
    """One result; what the engine raises is one line."""
    settings = ReplicatedSttSettings(
        engine="replicas",
        replication=REPLICATION,
        of=ScriptedSttSettings(engine="scripted", text="hello there", delay_ms=1),
    )
    engine: Any = await loading.load_one(settings)
    try:
        assert (await engine.transcribe(np.zeros(8000, np.float32))).text == "hello there"
        assert not hasattr(engine, "transcribe_as")
    finally:
        await engine.close()
    with pytest.raises(EngineError):
        await engine.transcribe(np.zeros(8000, np.float32))


async def test_replicas_that_fit_nowhere_are_one_line(cluster: None) -> None:
    """What to look at."""
    settings = ReplicatedSttSettings(
        engine="replicas",
        replication=Replication(number=1, gpus=64, ray="local", ready_within_s=5),
        of=ScriptedSttSettings(engine="scripted"),
    )
    with pytest.raises(EngineError, match=r"stt: its 1 replica.* replication.gpus") as refusal:
        await loading.load_one(settings)
    assert "\n" not in str(refusal.value)
