"""Pins who is let in: signed webhooks, signed streams with the nonce of the call under way, each once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import aiohttp
import pytest
from turngap.calibration.utterances import make_burst
from turngap.caller.connection import open_connection
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.live import preflight
from turngap.live.agent_leg import AgentLeg
from turngap.live.call_state import CallState
from turngap.live.caller_leg import CallerLeg
from turngap.live.responders import EchoResponder
from turngap.live.server import AGENT, CALLER, STATUS, VOICE, LiveServer, open_listener, serve_app
from turngap.scenario import PlannedCall, Turn
from turngap_agent.errors import AgentError, UsageError
from turngap_agent.telephony import signature
from turngap_agent.telephony.messages import Connected, Start

TOKEN = "0123456789abcdef0123456789abcdef"
TURN = Turn(id="burst", say="noise")


def call_state(scheduler: Scheduler, clock: SystemClock) -> CallState:
    caller = CallerLeg(
        PlannedCall(0, (TURN,), probe=False), {"burst": make_burst(200, 1)}, clock=clock, scheduler=scheduler, seed=1
    )
    return CallState(caller, AgentLeg(EchoResponder(), clock=clock))


async def post(url: str, form: Mapping[str, str], token: str, signed_url: str = "") -> tuple[int, str]:
    headers = {"X-Twilio-Signature": signature.sign(token, signed_url or url, form.items())}
    async with aiohttp.ClientSession() as client, client.post(url, data=form, headers=headers) as answer:
        return answer.status, await answer.text()


def test_webhooks_are_taken_from_twilio_only() -> None:
    """Wrong token, another URL's signature, none, and no call under way are refused; then the TwiML has a nonce."""

    async def run() -> None:
        clock = SystemClock()
        async with Scheduler(clock).running() as scheduler:
            with open_listener("127.0.0.1", 0) as listener:
                base = f"http://127.0.0.1:{listener.getsockname()[1]}"
                server = LiveServer(base, TOKEN, clock)
                async with serve_app(server.app(), listener):
                    form = {"CallSid": "CA1", "CallStatus": "busy"}
                    assert (await post(base + VOICE, form, TOKEN))[0] == 403
                    server.call = one = call_state(scheduler, clock)
                    assert (await post(base + VOICE, form, "f" * 32))[0] == 403
                    assert (await post(base + VOICE, form, TOKEN, base + STATUS))[0] == 403
                    assert (await post(base + STATUS, form, "f" * 32))[0] == 403
                    assert one.status == ""
                    status, twiml = await post(base + VOICE, form, TOKEN)
                    assert status == 200
                    assert one.agent_nonces
                    assert all(nonce in twiml for nonce in one.agent_nonces)
                    assert (await post(base + STATUS, form, TOKEN))[0] == 204
                    assert one.status == "busy"
                    assert server.refusals

    asyncio.run(run())


@pytest.mark.parametrize("path", [CALLER, AGENT])
def test_streams_need_signature_and_nonce(path: str) -> None:
    """Unsigned ones never open; one without the nonce opens nothing; the nonce works once."""

    async def run() -> None:
        clock = SystemClock()
        async with Scheduler(clock).running() as scheduler:
            with open_listener("127.0.0.1", 0) as listener:
                base = f"http://127.0.0.1:{listener.getsockname()[1]}"
                server = LiveServer(base, TOKEN, clock)
                async with serve_app(server.app(), listener):
                    server.call = one = call_state(scheduler, clock)
                    assert one.agent is not None
                    leg = one.caller if path == CALLER else one.agent
                    url = server.stream_url(path)
                    nonce = one.caller_nonce if path == CALLER else one.new_agent_nonce()

                    async def call(nonce: str, token: str) -> None:
                        closed = asyncio.Event()
                        connection = await open_connection(
                            url,
                            {signature.HEADER: signature.sign(token, url)},
                            clock=clock,
                            on_message=lambda message, at_ns: None,
                            on_closed=lambda reason, at_ns: closed.set(),
                        )
                        connection.send(Connected().to_json())
                        start = Start("MZ1", "CA1", "AC1", custom_parameters={"nonce": nonce})
                        connection.send(start.to_json())
                        opened = asyncio.create_task(leg.opened.wait())
                        ended = asyncio.create_task(closed.wait())
                        await asyncio.wait({opened, ended}, return_when=asyncio.FIRST_COMPLETED)
                        opened.cancel()
                        ended.cancel()
                        await connection.close()

                    with pytest.raises(AgentError, match="31920"):
                        await call(nonce, "f" * 32)
                    assert not leg.opened.is_set()
                    other = one.new_agent_nonce() if path == CALLER else one.caller_nonce
                    assert not one.accept_nonce("", agent=path == AGENT)
                    assert not one.accept_nonce(other, agent=path == AGENT)
                    await call(nonce, TOKEN)
                    assert leg.opened.is_set()
                    assert not one.accept_nonce(nonce, agent=path == AGENT)

    asyncio.run(run())


def test_a_final_status_is_never_replaced() -> None:
    """Callbacks may arrive out of order."""

    async def run() -> None:
        clock = SystemClock()
        one = call_state(Scheduler(clock), clock)
        one.apply_callback({"CallStatus": "completed"})
        one.apply_callback({"CallStatus": "ringing"})
        assert one.status == "completed"
        one.apply_callback({"AnsweredBy": "machine_start"})
        assert one.voicemail
        one.apply_callback({"StreamEvent": "stream-error", "StreamErrorCode": "31920"})
        assert "upgrade" in one.stream_errors[0]
        assert one.stream_errors[0].endswith("(Twilio 31920)")

    asyncio.run(run())


def test_the_preflight_check_finds_this_very_process() -> None:
    """Another process at the URL, or none, is an error that says how to get a public URL."""

    async def run() -> None:
        clock = SystemClock()
        with open_listener("127.0.0.1", 0) as listener:
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            server, stranger = LiveServer(base, TOKEN, clock), LiveServer(base, TOKEN, clock)
            async with serve_app(server.app(), listener):
                await preflight.check_public_url(server, clock)
                with pytest.raises(UsageError, match="something other than this process"):
                    await preflight.check_public_url(stranger, clock)
        with pytest.raises(UsageError, match="does not reach this machine"):
            await preflight.check_public_url(LiveServer("http://127.0.0.1:9", TOKEN, clock), clock)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [None, "", "http://a.example", "wss://a.example", "https://", "https://a.example/path", "https://a.example?x=1",
     "https://u:p@a.example", "https://a.example:x", "a.example"],
)  # fmt: skip
def test_public_urls_that_twilio_cannot_use_are_refused(url: str | None) -> None:
    """The error says what is expected."""
    with pytest.raises(UsageError, match="--public-url"):
        preflight.parse_public_url(url)


def test_a_port_in_use_is_an_error_of_the_option() -> None:
    """Two processes can't listen at one port, though addresses may be reused."""
    with open_listener("127.0.0.1", 0) as held, pytest.raises(UsageError, match="--port"):
        open_listener("127.0.0.1", held.getsockname()[1])


def test_frames_do_not_wait_for_acknowledgements() -> None:
    """The event loop turns Nagle's delay off only for sockets that name their protocol."""
    with open_listener("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
