"""A supervised server as a process: starts, deaths, restarts, and an end that leaves no process behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.gpu import faults
from turngap_agent.inject.engines import send_to_processes
from turngap_agent.llm.vllm.engine import VllmChat
from turngap_agent.llm.vllm.server import find_free_port
from turngap_agent.llm.vllm.supervision import State

from tests.pipeline.llm.vllm.builders import FAKE, make_request, supervised_settings
from tests.pipeline.llm.vllm.fake_server import REPLY

pytestmark = pytest.mark.anyio
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


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


async def reply_pieces(engine: VllmChat) -> list[str]:
    return [piece async for piece in engine.reply(make_request())]


async def test_a_server_starts_serves_and_ends() -> None:
    """It is ready after the warm-up, and has ended after `close`."""
    async with engine_of(supervised_settings()) as engine:
        await engine.warm_up()
        assert engine.server.state is State.READY
        pid = engine.server.pid
        assert alive(pid)
        assert await reply_pieces(engine) == REPLY
        assert "supervised" in engine.describe()
    assert not alive(pid)


async def test_before_it_is_ready_a_turn_fails_at_once() -> None:
    """A caller does not wait for a server that starts."""
    async with engine_of(supervised_settings()) as engine:
        with pytest.raises(EngineError, match=r"^llm: vLLM is starting$"):
            await reply_pieces(engine)


async def test_a_killed_server_is_restarted() -> None:
    """A turn meanwhile fails with the reason; the first one after the restart is answered."""
    async with engine_of(supervised_settings()) as engine:
        await engine.warm_up()
        server = engine.server
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: server.state is not State.READY)
        with pytest.raises(EngineError, match=r"^llm: vLLM is down \(it was killed by SIGKILL, by hand or because mem"):
            await reply_pieces(engine)
        await until(lambda: server.state is State.READY)
        assert server.pid != first
        assert await reply_pieces(engine) == REPLY


async def test_a_death_in_the_middle_of_a_reply_costs_the_turn() -> None:
    """The reply ends with an error; the server's exit code and last error are known, and it is restarted."""
    async with engine_of(supervised_settings("dies")) as engine:
        await engine.warm_up()
        server = engine.server
        first = server.pid
        with pytest.raises(EngineError, match=r"^llm: "):
            await reply_pieces(engine)
        await until(lambda: server.state is not State.READY)
        assert "it ended with code 7: RuntimeError: the engine died" in server.down_reason()
        await until(lambda: server.state is State.READY)
        assert server.pid != first


async def test_a_cuda_fault_under_mps_is_the_end() -> None:
    """It is not restarted, since MPS refuses new clients until the agent has left too; the agent is told."""
    environment = {"FAKE_LAST_WORDS": "RuntimeError: CUDA error: an illegal memory access was encountered"}
    faults.WATCH.arm()
    try:
        async with engine_of(supervised_settings("dies", environment=environment)) as engine:
            await engine.warm_up()
            with pytest.raises(EngineError, match=r"^llm: "):
                await reply_pieces(engine)
            error = await asyncio.wait_for(faults.WATCH.wait(), PATIENCE_S)
            assert "(vLLM: RuntimeError: CUDA error: an illegal memory access was encountered)" in str(error)
            await asyncio.wait_for(engine.server._watching, PATIENCE_S)
            assert engine.server.state is State.WAITING
    finally:
        faults.WATCH.disarm()


async def test_a_caller_hears_an_apology_while_it_is_down(serve, tmp_path: Path) -> None:
    """In one call: an answer, the server is killed, an apology, and an answer when it is back."""
    gate = tmp_path / "gate"
    gate.touch()
    async with engine_of(supervised_settings(environment={"FAKE_GATE": str(gate)})) as engine:
        await engine.warm_up()
        async with serve("llm.apology=I am sorry, please try again.", llm=engine) as served, served.phone() as phone:
            await phone.ask()
            names = [(await phone.reply())[0]]
            gate.unlink()
            send_to_processes(engine, signal.SIGKILL)  # as `turngap chaos` does
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


async def test_a_server_is_restarted_again_and_again(tmp_path: Path) -> None:
    """Also if it dies at every start but the first."""
    environment = {"FAKE_STARTS": str(tmp_path / "starts")}
    async with engine_of(supervised_settings("dies_again", environment=environment)) as engine:
        await engine.warm_up()
        os.kill(engine.server.pid, signal.SIGKILL)
        await until(lambda: len((tmp_path / "starts").read_text().split()) >= 4)
        with pytest.raises(EngineError, match="vLLM is down"):
            await reply_pieces(engine)


async def test_a_server_that_dies_at_its_start_is_one_line() -> None:
    """With its error, the remedy and its exit code; a first start is not repeated."""
    async with engine_of(supervised_settings("dies_at_start")) as engine:
        with pytest.raises(EngineError) as raised:
            await engine.warm_up()
    assert str(raised.value).startswith(
        "llm: vLLM did not start: it ended with code 1: ValueError: No available memory for the cache blocks.; "
    )
    assert "gpu_memory_share" in str(raised.value)


async def test_the_whole_output_is_in_the_runs_folder(tmp_path: Path) -> None:
    """Every line since the first start, and the line on a death names the file; without a folder it is temporary."""
    environment = {"TURNGAP_OUTPUT_FOLDER": str(tmp_path)}
    async with engine_of(supervised_settings("dies_at_start", environment=environment)) as engine:
        with pytest.raises(EngineError, match=rf"; its whole output: {tmp_path}/vllm\.log$"):
            await engine.warm_up()
    output = (tmp_path / "vllm.log").read_text()
    assert "ValueError: No available memory for the cache blocks." in output
    assert "Engine core initialization failed" in output


async def test_a_temporary_output_goes_with_a_server_that_worked() -> None:
    """One that died keeps it."""
    async with engine_of(supervised_settings()) as engine:
        await engine.warm_up()
        engine.server._output.write(b"a line")
        path = engine.server._output.path
        assert path.read_text().endswith("a line")
    assert not path.exists()
    async with engine_of(supervised_settings("dies_at_start")) as engine:
        with pytest.raises(EngineError):
            await engine.warm_up()
        path = engine.server._output.path
    assert path.read_text()
    path.unlink()


async def test_a_server_out_of_memory_is_one_line_at_its_start_and_later() -> None:
    """With vLLM's own line and the settings to lower, whether it loads or serves."""
    async with engine_of(supervised_settings("out_of_memory")) as engine:
        with pytest.raises(EngineError) as raised:
            await engine.warm_up()
    assert str(raised.value).startswith("llm: vLLM did not start: it ended with code 1: torch.OutOfMemoryError: CUDA")
    assert "; lower llm.gpu_memory_share or llm.max_context, or free the GPU; its whole output: " in str(raised.value)
    async with engine_of(supervised_settings("out_of_memory_later")) as engine:
        await engine.warm_up()
        with pytest.raises(EngineError, match=r"^llm: "):
            await reply_pieces(engine)
        await until(lambda: engine.server.state is not State.READY)
        assert "OutOfMemoryError: CUDA out of memory" in engine.server.down_reason()
        assert "lower llm.gpu_memory_share" in engine.server.down_reason()


async def test_a_death_in_the_warm_up_is_the_servers_own_error() -> None:
    """Not the error of the connection that it closed."""
    async with engine_of(supervised_settings("dies_warm")) as engine:
        with pytest.raises(EngineError, match=r"it ended with code 7: RuntimeError: the engine died; its whole out"):
            await engine.warm_up()


async def test_a_server_that_is_never_ready_is_ended() -> None:
    """After the limit, with the setting's name and its last line; no process is left."""
    async with engine_of(supervised_settings("never_ready", start_limit_s=3)) as engine:
        with pytest.raises(
            EngineError, match=r"not ready within 3 s; raise llm.start_limit_s if it is only slow; its last line: "
        ):
            await engine.warm_up()
        assert engine.server.pid is None


async def test_another_model_than_that_of_the_settings_is_refused() -> None:
    """A command that serves another one is an error."""
    settings = supervised_settings()
    wrong = settings.model_copy(update={"command": (sys.executable, str(FAKE), "other/model")})
    async with engine_of(wrong) as engine:
        with pytest.raises(EngineError, match="serves other/model, not fake/model"):
            await engine.warm_up()


async def test_workers_end_with_the_server(tmp_path: Path) -> None:
    """They hold the GPU's memory and the output's pipe: after the server alone is killed, they are killed too."""
    pid_file = tmp_path / "worker"
    script = f'sleep 600 & echo $! > {pid_file}; exec {sys.executable} {FAKE} "$@"'
    settings = supervised_settings().model_copy(update={"command": ("sh", "-c", script, "sh")})
    async with engine_of(settings) as engine:
        await engine.warm_up()
        worker = int(pid_file.read_text())
        assert alive(worker)
        os.kill(engine.server.pid, signal.SIGKILL)
        await until(lambda: engine.server.state is not State.READY)
        assert "killed by SIGKILL" in engine.server.down_reason()
        await until(lambda: not alive(worker))


def test_the_leash_ends_the_server_with_the_agent(tmp_path: Path) -> None:
    """Even when the agent is killed and cannot end it."""
    pid_file = tmp_path / "pid"
    agent = (
        "import os, subprocess, sys, time;"
        "subprocess.Popen([sys.executable, '-m', 'turngap_agent.leash', str(os.getpid()), 'sh', '-c',"
        f" 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600']); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", agent]) as parent:
        try:
            asyncio.run(until(pid_file.exists))
            child = int(pid_file.read_text())
            assert alive(child)
        finally:
            parent.kill()
    asyncio.run(until(lambda: not alive(child)))


def test_a_missing_command_is_one_line() -> None:
    """The leash reports it as a shell would."""
    command = [sys.executable, "-m", "turngap_agent.leash", str(os.getpid()), "no-such-command"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (127, "no-such-command: No such file or directory\n")


def test_a_find_free_port_can_be_used() -> None:
    """No program listens on it, and a server can."""
    port = find_free_port("127.0.0.1")
    with socket.create_server(("127.0.0.1", port)) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)
