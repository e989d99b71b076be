"""An agent ends although a thread of an engine never does: on SIGTERM, and by an error, with its line and its code."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest
import websockets

PROGRAM = """
import asyncio, signal, sys, threading
from types import SimpleNamespace
from turngap_agent import __main__
from turngap_agent.gpu import faults
from turngap_agent.inject import call_faults
from turngap_agent.server import hosting, serve

def make_thread(target, name, daemon):
    return threading.Thread(target=target, name=name)  # as an engine's own: the interpreter waits for it

async def host(*arguments, host=hosting.host, **more):
    faults.WATCH.arm()
    lost = ("vLLM", "RuntimeError: CUDA error: an illegal memory access was encountered")
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, faults.WATCH.report, *lost)
    return await host(*arguments, **more)

call_faults.threading = SimpleNamespace(Thread=make_thread)
hosting.host = host
serve.LEAVE_S = 0.1
sys.exit(__main__.main(sys.argv[1:]))
"""
FAST = ("stt.delay_ms=0", "llm.first_token_ms=0", "llm.token_ms=0", "tts.first_audio_ms=0", "limits.burst_s=1000")
PATIENCE_S = 30


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("end", "code", "line"),
    [
        (signal.SIGTERM, 0, "turngap.hosting: a thread does not end, perhaps a stuck engine's"),
        (signal.SIGUSR1, 2, "turngap: error: gpu.mps: a CUDA fault of one process ended the GPU for all"),
    ],
)
async def test_a_stuck_thread_does_not_keep_the_agent(pick_up, end, code, line) -> None:
    """The engine was replaced, so calls were answered; its thread would keep the interpreter for an hour."""
    overrides = (*FAST, "deadlines.stt_ms=300", "deadlines.stuck_ms=50", "deadlines.failed_turns=null")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "serve", "--profile", "scripted", "--port", "0", "--inject-faults"),
        *(word for each in overrides for word in ("--set", each)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            ready = json.loads(await process.stdout.readline())
            async with websockets.connect(ready["url"], max_queue=None) as socket_:
                phone = pick_up(socket_)
                await phone.begin(custom_parameters={"turngap-fault": "stt stuck first-word once"})
                await phone.ask()
                _, apology = await phone.reply()
                answer = apology
                while answer == apology:
                    await phone.ask()
                    _, answer = await phone.reply()
                await phone.hang_up()
            process.send_signal(end)
            _, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == code, log.decode()
    assert sum(line in each for each in log.decode().splitlines()) == 1, log.decode()
