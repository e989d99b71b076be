"""The agent's process: when it ends by itself."""

from __future__ import annotations

import asyncio
import io

import pytest
from turngap_agent import clock, profile
from turngap_agent.errors import EngineError
from turngap_agent.gpu import faults
from turngap_agent.inject import Injection
from turngap_agent.server import hosting, serve


def test_a_lost_gpu_ends_the_agent_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under MPS; its engines are closed first, and the error is the command's own: one line, exit code 2."""

    async def work() -> None:
        faults.WATCH.arm()
        stdout = io.StringIO()
        listener = serve.listen("127.0.0.1", 0)
        arguments = (profile.load("scripted"), Injection.parse(()), listener, stdout, clock.now_ns())
        hosted = asyncio.create_task(hosting.host(*arguments))
        while "ready" not in stdout.getvalue():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        faults.WATCH.report("vLLM", "RuntimeError: CUDA error: an illegal memory access was encountered")
        with pytest.raises(EngineError, match=r"gpu\.mps: a CUDA fault .*illegal memory access.*the agent ends"):
            await hosted

    try:
        asyncio.run(asyncio.wait_for(work(), 60))
    finally:
        faults.WATCH.disarm()
