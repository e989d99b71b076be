"""`python -m turngap_agent serve` as its users see it: the ready line, an orderly end, one line for every mistake."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets
from turngap_agent import __main__ as commands
from turngap_agent import tracing

ROOT = Path(__file__).parents[3]


@contextlib.asynccontextmanager
async def agent(*arguments: str, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict]]:
    """An agent process that is ready, and its ready line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "turngap_agent",
        "serve",
        "--profile",
        "scripted",
        "--port",
        "0",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    try:
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        assert line, (await process.stderr.read()).decode()
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.anyio
async def test_sigterm_in_mid_call_flushes_the_spans(pick_up, otlp_receiver):
    """The ready line is the only output; SIGTERM ends the call, delivers its spans and exits 0."""
    receiver = otlp_receiver()
    async with agent(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as (process, ready):
        assert set(ready) == {
            "event",
            "url",
            "http",
            "port",
            "pid",
            "profile",
            "models",
            "gpu",
            "memory_mib",
            "ready_s",
            "boot_id",
            "anchor_unix_ns",
        }
        assert ready["event"] == "ready"
        assert ready["url"] == f"ws://127.0.0.1:{ready['port']}/twilio/media"
        assert ready["pid"] == process.pid
        assert ready["boot_id"] == tracing.read_boot_id()
        assert set(ready["models"]) == {"vad", "stt", "llm", "tts"}
        async with websockets.connect(ready["url"], max_queue=None) as socket_:
            phone = pick_up(socket_)
            await phone.begin()
            await phone.ask()
            await phone.reply()
            process.send_signal(signal.SIGTERM)
            code, _ = await phone.closed()
        async with asyncio.timeout(10):
            rest, log = await process.communicate()
        assert (code, process.returncode, rest) == (1012, 0, b""), log.decode()
    names = [span.name for span in receiver.spans]
    assert names.count(tracing.TURN_SPAN) == names.count(tracing.CALL_SPAN) == 1
    turn = receiver.facts(receiver.spans[names.index(tracing.TURN_SPAN)])
    assert turn[tracing.SPANS] == len(names) - 1
    assert receiver.resource[tracing.ANCHOR_NS] == ready["anchor_unix_ns"]


@pytest.mark.anyio
async def test_a_dead_receiver_does_not_keep_the_agent(pick_up):
    """Undelivered spans are one line in the log, and the agent still exits with 0."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with agent(OTEL_EXPORTER_OTLP_ENDPOINT=dead) as (process, ready):
        async with websockets.connect(ready["url"], max_queue=None) as socket_:
            phone = pick_up(socket_)
            await phone.begin()
            await phone.hang_up()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            _, log = await process.communicate()
    assert process.returncode == 0
    assert sum("not delivered" in line for line in log.decode().splitlines()) == 1
    assert "Traceback" not in log.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["bogus"], "bogus"),
        (["serve", "--bogus"], "--bogus"),
        (["serve", "--profile", "nope"], "no profile 'nope'"),
        (["serve", "--profile", "scripted", "--set", "stt.dealy_ms=3"], "delay_ms"),
        (["serve", "--profile", "scripted", "--set", "nonsense"], "section.key=value"),
        (["serve", "--profile", "scripted", "--inject", "lunch=30"], "no stage is called 'lunch'"),
        (["serve", "--profile", "scripted", "--port", "70000"], "0 to 65535"),
        (["serve", "--profile", "scripted", "--port", "x"], "--port"),
        (["serve", "--profile", "scripted", "--host", "host.invalid"], "host.invalid"),
        (["serve", "--profile", "scripted", "--host", "0.0.0.0"], "set TWILIO_AUTH_TOKEN"),
        (["serve", "--profile", "scripted", "--host", "::"], "--unsigned"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_3(arguments, message, capfd):
    """What the user gave is wrong: one line on stderr says what, nothing on stdout."""
    assert commands.main(arguments) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("turngap: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_port_in_use_is_one_line(capfd):
    """Before any model is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert commands.main(["serve", "--profile", "scripted", "--port", str(port)]) == 3
    assert f"port {port}: Address already in use" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"]])
def test_help_is_printed(arguments, capfd):
    """Every command is named, and help is not an error."""
    assert commands.main(arguments) == 0
    assert "serve" in capfd.readouterr().out
