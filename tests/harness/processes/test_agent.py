"""The agent's process: started, watched and stopped, with every way to fail in one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from turngap.caller.priority import OWN_NICE, raised_priority
from turngap.model.agent_figures import AgentGpu
from turngap.processes import child
from turngap.processes.agent import RunningAgent, agent_environment, check_url, find_cause, serve_command
from turngap_agent.errors import AgentError, UsageError

READY = (
    "import json, os\n"
    "print(json.dumps({'event': 'ready', 'url': 'ws://127.0.0.1:1/x', 'pid': os.getpid()}), flush=True)\n"
)
SLEEP = "import time; time.sleep(60)\n"


def script(body: str) -> list[str]:
    return [sys.executable, "-c", body]


async def start(tmp_path: Path, body: str, timeout_s: float = 20.0) -> RunningAgent:
    return await RunningAgent.start(script(body), log=tmp_path / "agent.log", endpoint=None, timeout_s=timeout_s)


def test_a_started_agent_tells_its_url_and_ends_on_stop(tmp_path: Path) -> None:
    """The ready line is read past other output, and after `stop` the process is gone."""

    async def scenario() -> None:
        agent = await start(tmp_path, "print('loading')\n" + READY + SLEEP)
        assert agent.ready.url == "ws://127.0.0.1:1/x"
        assert agent.pid is not None
        assert psutil.pid_exists(agent.pid)
        await agent.stop()
        assert not psutil.pid_exists(agent.pid)

    asyncio.run(scenario())


def test_an_agent_that_dies_at_start_is_named_with_its_cause(tmp_path: Path) -> None:
    """The message holds the agent's own error line, its status and the log's path."""
    body = "import sys; sys.stderr.write('turngap: error: no such engine\\nbye\\n'); sys.exit(2)"
    with pytest.raises(AgentError) as caught:
        asyncio.run(start(tmp_path, body))
    assert str(caught.value) == (
        f"the agent did not start (exit code 2): no such engine; log: {tmp_path / 'agent.log'}"
    )


def test_an_agent_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    """A command that does not exist ends in AgentError, not in OSError."""
    with pytest.raises(AgentError, match="No such file"):
        asyncio.run(RunningAgent.start(["/nonexistent"], log=tmp_path / "agent.log", endpoint=None))


def test_an_agent_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    """After the timeout nothing of it is left running."""
    body = f"import os, pathlib; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n" + SLEEP
    with pytest.raises(AgentError, match="not ready within 4 s"):
        asyncio.run(start(tmp_path, body, timeout_s=4))
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_ready_line_without_url_is_refused(tmp_path: Path) -> None:
    """Another program's JSON is no agent."""
    with pytest.raises(AgentError, match="no `url`"):
        asyncio.run(start(tmp_path, 'print(\'{"event": "ready"}\', flush=True)\n' + SLEEP))


def test_the_ready_line_names_the_gpu(tmp_path: Path) -> None:
    """Which one the agent uses and whether under MPS; one that tells more is understood, and none is none."""
    gpu = {"uuid": "GPU-8f", "name": "NVIDIA H200", "mps": True, "temper": "calm"}
    line = f"import json; print(json.dumps({{'event': 'ready', 'url': 'ws://h/x', 'gpu': {gpu!r}}}), flush=True)\n"

    async def scenario(body: str) -> tuple[AgentGpu | None, str]:
        agent = await start(tmp_path, body + SLEEP)
        await agent.stop()
        return agent.ready.gpu, agent.gpu_uuid

    assert asyncio.run(scenario(line)) == (AgentGpu(uuid="GPU-8f", name="NVIDIA H200", mps=True), "GPU-8f")
    assert asyncio.run(scenario(READY)) == (None, "")
    with pytest.raises(AgentError, match="`gpu` without its uuid"):
        asyncio.run(scenario(line.replace("uuid", "id")))


def test_death_in_mid_run_is_noticed(tmp_path: Path) -> None:
    """`died` returns with the signal's name and the last line of the log."""

    async def scenario() -> str:
        agent = await start(
            tmp_path, "import sys; print('out of memory', file=sys.stderr, flush=True)\n" + READY + SLEEP
        )
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        text = await asyncio.wait_for(agent.died(), 10)
        await agent.stop()
        return text

    assert asyncio.run(scenario()) == (
        f"the agent died (killed by SIGKILL): out of memory; log: {tmp_path / 'agent.log'}"
    )


FREE_MEMORY = "ValueError: Free memory on device is less than desired"
VLLM_LOG = """\
2026-11-30 10:00:00 INFO turngap: loading llm
(EngineCore_0 pid=7) ERROR 11-30 10:00:09 [core.py:700] Traceback (most recent call last):
(EngineCore_0 pid=7) ERROR 11-30 10:00:09 [core.py:700] ValueError: Free memory on device is less than desired
(APIServer pid=6) RuntimeError: Engine core initialization failed. See stack trace (above) for the root cause.
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (VLLM_LOG, FREE_MEMORY),
        (VLLM_LOG + "turngap: error: vLLM did not start: no memory\n", "vLLM did not start: no memory"),
        (VLLM_LOG + "turngap: error: See stack trace (above)\n", FREE_MEMORY),
        ("torch.OutOfMemoryError: CUDA out of memory\nshutting down\n", "torch.OutOfMemoryError: CUDA out of memory"),
        ("Segmentation fault\n2026 INFO bye\n", "Segmentation fault"),
        ("See stack trace (above)\n", "See stack trace (above)"),
        ("", ""),
    ],
)
def test_the_cause_of_a_death_is_read_from_the_log(log: str, cause: str) -> None:
    """The agent's own error, else the last exception, else the last line; never a line that points at another."""
    assert find_cause(log.splitlines()) == cause


def test_the_log_of_an_earlier_agent_is_not_blamed(tmp_path: Path) -> None:
    """A resumed run appends to its log: the earlier agent's error is not the later one's."""
    (tmp_path / "agent.log").write_text("turngap: error: the earlier cause\n")
    with pytest.raises(AgentError, match=r"did not start \(exit code 5\) without a message"):
        asyncio.run(start(tmp_path, "import sys; sys.exit(5)"))


def test_a_requested_end_is_no_death(tmp_path: Path) -> None:
    """`died` stays silent when it was we who stopped the agent."""

    async def scenario() -> None:
        agent = await start(tmp_path, READY + SLEEP)
        watch = asyncio.create_task(agent.died())
        await asyncio.sleep(0)
        await agent.stop()
        await asyncio.sleep(0)
        assert not watch.done()
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    asyncio.run(scenario())


def test_an_agent_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    """SIGKILL follows after the grace, and goes to what the agent started too."""
    body = (
        "import signal, subprocess, sys, json\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        "print(json.dumps({'event': 'ready', 'url': 'ws://h/x', 'models': {'worker': worker.pid}}), flush=True)\n"
    ) + SLEEP

    async def scenario() -> int:
        agent = await start(tmp_path, body)
        await agent.stop(grace_s=0.2)
        return int(agent.ready.models["worker"])

    worker = asyncio.run(scenario())
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(worker).wait(5)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


def test_a_chatty_agent_is_not_blocked(tmp_path: Path) -> None:
    """More on stdout than a pipe holds does not stop the agent."""
    body = READY + "print('x' * 1_000_000, flush=True)\nimport sys; sys.exit(7)\n"

    async def scenario() -> str:
        agent = await start(tmp_path, body)
        text = await asyncio.wait_for(agent.died(), 10)
        await agent.stop()
        return text

    assert "exit code 7" in asyncio.run(scenario())


def test_a_killed_harness_leaves_no_agent(tmp_path: Path) -> None:
    """When the process that started the agent is killed with SIGKILL, the agent ends by itself."""
    harness = (
        "import asyncio, sys, pathlib\n"
        "from turngap.processes.agent import RunningAgent\n"
        "async def main():\n"
        f"    agent = await RunningAgent.start([sys.executable, '-c', {READY + SLEEP!r}],"
        f" log=pathlib.Path({str(tmp_path / 'agent.log')!r}), endpoint=None)\n"
        "    print(agent.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(script(harness), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        agent = psutil.Process(int(process.stdout.readline()))
        process.kill()
    with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        agent.wait(10)
    assert not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE


def test_the_agent_has_the_users_cpus_and_a_session_of_its_own(tmp_path: Path) -> None:
    """A caller that pins itself to one CPU does not pin the agent, and our Ctrl-C does not reach it."""
    body = (
        "import json, os\n"
        "cpus, own = sorted(os.sched_getaffinity(0)), os.getsid(0) == os.getpid()\n"
        "print(json.dumps({'event': 'ready', 'url': 'ws://h/x', 'models': {'cpus': cpus, 'own': own}}), flush=True)\n"
    ) + SLEEP

    async def scenario() -> dict[str, str]:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            agent = await start(tmp_path, body)
        finally:
            os.sched_setaffinity(0, before)
        await agent.stop()
        return agent.ready.models

    assert asyncio.run(scenario()) == {"cpus": str(sorted(os.sched_getaffinity(0))), "own": "True"}


def test_the_agent_does_not_inherit_our_own_priority(tmp_path: Path) -> None:
    """Where the caller may go ahead of it, it keeps the user's priority, or one behind by the requested amount."""
    body = (
        "import json, os\n"
        "print(json.dumps({'event': 'ready', 'url': 'ws://h/x', 'models': {'nice': os.nice(0)}}), flush=True)\n"
    ) + SLEEP

    async def scenario(nice: int) -> str:
        with raised_priority():
            agent = await RunningAgent.start(script(body), log=tmp_path / "agent.log", endpoint=None, nice=nice)
        await agent.stop()
        return agent.ready.models["nice"]

    assert asyncio.run(scenario(0)) == str(OWN_NICE)
    assert asyncio.run(scenario(3)) == str(OWN_NICE + 3)
    assert os.nice(0) == OWN_NICE


def test_the_users_own_telemetry_settings_do_not_reach_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans go to our receiver, never to the user's collector and never through a proxy."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://elsewhere")
    monkeypatch.setenv("no_proxy", "corp")
    env = agent_environment("http://127.0.0.1:4318")
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" not in env
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    assert env["no_proxy"] == "corp,127.0.0.1,localhost"


def test_the_users_twilio_token_does_not_reach_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """With it our own agent would take signed calls alone, and refuse ours."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC1")
    assert not [name for name in agent_environment(None) if name.startswith("TWILIO_")]


def test_a_module_in_the_current_folder_does_not_shadow_the_standard_library(tmp_path: Path) -> None:
    """Child processes start wherever the command is given, also beside a user's `queue.py`."""
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong one')")
    command = child.python_command("turngap_agent", "weights", "list")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_serve_command_names_profile_and_delays() -> None:
    """Each injected delay is an option of its own."""
    command = serve_command(Path("p.yaml"), ("encoding=100",))
    assert command[-8:] == ["turngap_agent", "serve", "--profile", "p.yaml", "--port", "0", "--inject", "encoding=100"]


@pytest.mark.parametrize("url", ["http://host/x", "host:80", "", "ws://"])
def test_a_url_that_is_no_websocket_is_a_usage_error(url: str) -> None:
    """The message shows what a URL looks like."""
    with pytest.raises(UsageError, match="expected ws://HOST:PORT/PATH"):
        check_url(url)


def test_an_agent_by_url_is_never_stopped() -> None:
    """It is not ours: `stop` does nothing and it has no process to look into."""

    async def scenario() -> None:
        agent = RunningAgent.at("ws://127.0.0.1:9/twilio/media")
        assert not agent.ours
        await agent.stop()
        assert json.dumps(agent.ready.models) == "{}"

    asyncio.run(scenario())
