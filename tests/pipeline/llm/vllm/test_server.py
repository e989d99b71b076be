"""A supervised server, as a process of its own: starts, deaths, restarts, and an end that leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm.engine import VllmChat
from turngap_agent.llm.vllm.server import free_port
from turngap_agent.llm.vllm.supervision import State

from tests.pipeline.llm.vllm.builders import FAKE, asked, supervised
from tests.pipeline.llm.vllm.fake_server import REPLY

pytestmark = pytest.mark.anyio
PATIENCE_S = 60


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # a process is watched from outside
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@asynccontextmanager
async def engine_of(settings) -> AsyncIterator[VllmChat]:
    engine = VllmChat(settings)
    try:
        yield engine
    finally:
        await engine.close()


async def said(engine: VllmChat) -> list[str]:
    return [piece async for piece in engine.reply(asked())]


async def test_it_is_started_used_and_ended() -> None:
    """Ready after the warm-up; gone after `close`."""
    async with engine_of(supervised()) as engine:
        await engine.warm_up()
        assert engine.server.state is State.READY
        pid = engine.server.pid
        assert alive(pid)
        assert await said(engine) == REPLY
        assert "supervised" in engine.describe()
    assert not alive(pid)


async def test_before_it_is_ready_a_turn_fails_at_once() -> None:
    """Nobody is kept waiting for a server that starts."""
    async with engine_of(supervised()) as engine:
        with pytest.raises(EngineError, match=r"^llm: vLLM is starting$"):
            await said(engine)


async def test_a_killed_server_comes_back() -> None:
    """The turn meanwhile fails with the reason; the next one after the restart is answered."""
    async with engine_of(supervised()) as engine:
        await engine.warm_up()
        server = engine.server
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: server.state is not State.READY)
        with pytest.raises(EngineError, match=r"^llm: vLLM is down \(it was killed by SIGKILL, by hand or because mem"):
            await said(engine)
        await until(lambda: server.state is State.READY)
        assert server.pid != first
        assert await said(engine) == REPLY


async def test_a_death_in_the_middle_of_a_reply_costs_the_turn() -> None:
    """The reply breaks off with an error; the server's code and last error are known, and it comes back."""
    async with engine_of(supervised("dies")) as engine:
        await engine.warm_up()
        server = engine.server
        first = server.pid
        with pytest.raises(EngineError, match=r"^llm: "):
            await said(engine)
        await until(lambda: server.state is not State.READY)
        assert "it ended with code 7: RuntimeError: the engine died" in server.why_down()
        await until(lambda: server.state is State.READY)
        assert server.pid != first


async def test_a_caller_hears_an_apology_while_it_is_down(serve, tmp_path: Path) -> None:
    """In one and the same call: answered, killed, apologised to, and answered again when it is back."""
    gate = tmp_path / "gate"
    gate.touch()
    async with engine_of(supervised(environment={"FAKE_GATE": str(gate)})) as engine:
        await engine.warm_up()
        async with serve("llm.apology=I am sorry, please try again.", llm=engine) as served, served.phone() as phone:
            await phone.ask()
            names = [(await phone.reply())[0]]
            gate.unlink()
            os.kill(engine.server.pid, signal.SIGKILL)
            await until(lambda: engine.server.state is not State.READY)
            await phone.ask()
            names.append((await phone.reply())[0])
            gate.touch()
            await until(lambda: engine.server.state is State.READY)
            await phone.ask()
            names.append((await phone.reply())[0])
            await phone.hang_up()
            await served.idle()
    replies = [turn.attributes[tracing.REPLY] for turn in served.traces.turns]
    assert names == ["turn-0-1", "turn-1-1", "turn-2-1"]
    assert replies == ["Good morning, how may I help you?", "I am sorry, please try again.", replies[0]]
    assert "killed by SIGKILL" in served.traces.turns[1].attributes[tracing.ERROR]
    assert served.traces.turns[2].attributes[tracing.LLM_PREFILL_MS] == 20.0


async def test_restarts_go_on_with_longer_waits(tmp_path: Path) -> None:
    """A server that dies at every further start is tried again and again, and its failures are counted."""
    environment = {"FAKE_STARTS": str(tmp_path / "starts")}
    async with engine_of(supervised("dies_again", environment=environment)) as engine:
        await engine.warm_up()
        os.kill(engine.server.pid, signal.SIGKILL)
        await until(lambda: len((tmp_path / "starts").read_text().split()) >= 4)
        with pytest.raises(EngineError, match="vLLM is down"):
            await said(engine)


async def test_a_server_that_dies_at_its_start_says_why() -> None:
    """Its own error with the remedy, and its code; a first start is not repeated."""
    async with engine_of(supervised("dies_at_start")) as engine:
        with pytest.raises(EngineError) as raised:
            await engine.warm_up()
    assert str(raised.value).startswith(
        "llm: vLLM does not start: it ended with code 1: ValueError: No available memory for the cache blocks.; "
    )
    assert "gpu_memory_share" in str(raised.value)


async def test_a_server_without_memory_says_so_at_its_start_and_later() -> None:
    """The engine, vLLM's own line and the settings to lower, whether it loads or has been serving."""
    async with engine_of(supervised("out_of_memory")) as engine:
        with pytest.raises(EngineError) as raised:
            await engine.warm_up()
    assert str(raised.value).startswith("llm: vLLM does not start: it ended with code 1: torch.OutOfMemoryError: CUDA")
    assert str(raised.value).endswith("; lower llm.gpu_memory_share or llm.max_context, or free the GPU")
    async with engine_of(supervised("out_of_memory_later")) as engine:
        await engine.warm_up()
        with pytest.raises(EngineError, match=r"^llm: "):
            await said(engine)
        await until(lambda: engine.server.state is not State.READY)
        assert "OutOfMemoryError: CUDA out of memory" in engine.server.why_down()
        assert "lower llm.gpu_memory_share" in engine.server.why_down()


async def test_a_death_in_the_warm_up_is_the_servers_own_error() -> None:
    """Not the connection's that it broke."""
    async with engine_of(supervised("dies_warm")) as engine:
        with pytest.raises(EngineError, match=r"it ended with code 7: RuntimeError: the engine died$"):
            await engine.warm_up()


async def test_a_server_that_is_never_ready_is_given_up() -> None:
    """After the limit, with the setting's name and the last it said; and it is gone."""
    async with engine_of(supervised("never_ready", start_limit_s=3)) as engine:
        with pytest.raises(
            EngineError, match=r"not ready within 3 s; raise llm.start_limit_s if it is only slow; the last"
        ):
            await engine.warm_up()
        assert engine.server.pid is None


async def test_another_model_than_asked_for_is_refused() -> None:
    """A command that serves something else does not pass for the model."""
    settings = supervised()
    wrong = settings.model_copy(update={"command": (sys.executable, str(FAKE), "other/model")})
    async with engine_of(wrong) as engine:
        with pytest.raises(EngineError, match="serves other/model, not fake/model"):
            await engine.warm_up()


async def test_workers_end_with_the_server(tmp_path: Path) -> None:
    """What it has started holds the GPU's memory, and its output: after a kill of the server alone it is ended too."""
    note = tmp_path / "worker"
    script = f'sleep 600 & echo $! > {note}; exec {sys.executable} {FAKE} "$@"'
    settings = supervised().model_copy(update={"command": ("sh", "-c", script, "sh")})
    async with engine_of(settings) as engine:
        await engine.warm_up()
        worker = int(note.read_text())
        assert alive(worker)
        os.kill(engine.server.pid, signal.SIGKILL)
        await until(lambda: engine.server.state is not State.READY)
        assert "killed by SIGKILL" in engine.server.why_down()
        await until(lambda: not alive(worker))


def test_the_leash_ends_the_server_with_the_agent(tmp_path: Path) -> None:
    """Even when the agent is killed and can end nothing itself."""
    note = tmp_path / "pid"
    agent = (
        "import os, subprocess, sys, time;"
        "subprocess.Popen([sys.executable, '-m', 'turngap_agent.leash', str(os.getpid()), 'sh', '-c',"
        f" 'echo $$ > {note}.new; mv {note}.new {note}; exec sleep 600']); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", agent]) as parent:
        try:
            asyncio.run(until(note.exists))
            child = int(note.read_text())
            assert alive(child)
        finally:
            parent.kill()
    asyncio.run(until(lambda: not alive(child)))


def test_a_command_that_is_not_there_is_one_line() -> None:
    """The leash says it as a shell would."""
    command = [sys.executable, "-m", "turngap_agent.leash", str(os.getpid()), "no-such-command"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "no-such-command: No such file or directory\n")


def test_a_free_port_can_be_used() -> None:
    """It is given by the system."""
    assert 0 < free_port("127.0.0.1") < 65536
