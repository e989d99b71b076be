"""The agent's process: when it ends by itself."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from typing import Any

import pytest
from turngap_agent import clock, loading, profile, replacements
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


class LeftError(Exception):
    """The process ended with this code."""


@pytest.mark.parametrize(
    ("owner", "name"), [(loading, "load"), (hosting, "make_announcements"), (replacements.Replacements, "keep_spares")]
)
def test_an_agent_that_is_stopped_while_it_loads_does_not_finish_that(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines, what they say, or spares: each may take minutes, and there is nothing to save."""

    def leave(code: int) -> None:
        raise LeftError(code)

    async def work() -> None:
        begun = asyncio.Event()

        async def load(*_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(owner, name, load)
        listener = serve.listen("127.0.0.1", 0)
        arguments = (profile.load("scripted"), Injection.parse(()), listener, io.StringIO(), clock.now_ns())
        hosted = asyncio.create_task(hosting.host(*arguments))
        await begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(LeftError) as left, listener:
            await hosted
        assert left.value.args == (0,)

    monkeypatch.setattr(os, "_exit", leave)
    asyncio.run(asyncio.wait_for(work(), 60))
