"""HTTP and the door to the WebSocket: webhook, signatures, lines, health, metrics, socket options."""

import contextlib
import socket
import xml.etree.ElementTree as ET

import httpx
import pytest
import websockets
from turngap_agent.server import app, media_socket, stream
from turngap_agent.server.admission import NONCE_PARAMETER
from twilio.request_validator import RequestValidator

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio

TOKEN = "0123456789abcdef"
FORM = {"CallSid": "CA1", "From": "+15550100", "Called": ""}
PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "agent.example"}


def base(served) -> str:
    return f"http://127.0.0.1:{served.port}"


def stream_of(twiml: str) -> ET.Element:
    response = ET.fromstring(twiml)  # our own answer
    assert response.tag == "Response"
    (stream,) = response.findall("./Connect/Stream")
    return stream


async def test_the_webhook_connects_the_call_to_the_socket(serve):
    """TwiML with the stream's wss URL on the requested host, and no parameter if nothing is signed."""
    async with serve() as served, httpx.AsyncClient() as client:
        plain = await client.post(f"{base(served)}/twilio/voice", data=FORM)
        proxied = await client.post(f"{base(served)}/twilio/voice", data=FORM, headers=PROXY)
    assert plain.headers["content-type"].startswith("application/xml")
    assert stream_of(plain.text).attrib == {"url": f"wss://127.0.0.1:{served.port}/twilio/media"}
    assert stream_of(proxied.text).attrib == {"url": "wss://agent.example/twilio/media"}
    assert not list(stream_of(plain.text))


async def test_a_signed_webhook_is_answered_with_a_nonce(serve):
    """With a token set, the official validator's signature opens the door, and any other gets 403."""
    url = "https://agent.example/twilio/voice?region=us1"
    good = RequestValidator(TOKEN).compute_signature(url, FORM)
    async with serve(token=TOKEN) as served, httpx.AsyncClient() as client:

        async def post(signature: str | bytes | None) -> httpx.Response:
            headers = PROXY if signature is None else {**PROXY, "X-Twilio-Signature": signature}
            return await client.post(f"{base(served)}/twilio/voice?region=us1", data=FORM, headers=headers)

        answer = await post(good)
        refused = [(await post(signature)).status_code for signature in (None, "", "AAAA", good[::-1], "ä".encode())]
    (parameter,) = stream_of(answer.text).findall("Parameter")
    assert parameter.attrib["name"] == NONCE_PARAMETER
    assert refused == [403] * 5


async def test_a_signed_upgrade_needs_signature_and_nonce(serve, pick_up):
    """The wss URL of the TwiML, signed without parameters, and the nonce once: the https form and a second use fail."""
    validator = RequestValidator(TOKEN)
    async with serve(token=TOKEN) as served:
        host = f"127.0.0.1:{served.port}"

        async def call(url: str | None, parameters: dict[str, str]) -> int | None:
            headers = {} if url is None else {"x-twilio-signature": validator.compute_signature(url, {})}
            try:
                async with websockets.connect(served.url, additional_headers=headers, max_queue=None) as socket_:
                    phone = pick_up(socket_)
                    await phone.begin(custom_parameters=parameters)
                    await phone.stop()
                    return (await phone.closed())[0]
            except websockets.InvalidStatus as fault:
                return fault.response.status_code

        nonce = {NONCE_PARAMETER: served.admission.new_nonce("CA1")}
        good = f"wss://{host}/twilio/media"
        assert await call(None, nonce) == 403
        assert await call(f"https://{host}/twilio/media", nonce) == 403
        assert await call(good, {}) == media_socket.POLICY
        assert await call(good, nonce) == media_socket.NORMAL
        assert await call(good, nonce) == media_socket.POLICY
        assert served.count("turngap_calls_total", result="unsigned") == 4


async def test_one_call_too_many_hears_why(serve):
    """Over the profile's limit the caller hears a sentence, the socket is closed, and an ended call makes room."""
    async with serve("limits.simultaneous_calls=1") as served:
        async with served.phone("1") as first:
            await first.ask()
            await wait_until(lambda: served.admission.active)
            async with served.phone("2") as second:
                name, audio = await second.reply()
                assert (name, audio) == (stream.LAST_WORDS_MARK, b"".join(served.agent.announcements["busy"]))
                assert len(audio) > 4000
                assert (await second.closed())[0] == media_socket.TRY_AGAIN
            assert (await first.reply())[1]
        await served.idle()
        async with served.phone("3") as third:
            await third.ask()
            assert (await third.reply())[1]
        assert served.count("turngap_calls_total", result="busy") == 1


async def test_sockets_without_a_call_keep_no_caller_out(serve, monkeypatch):
    """They take no place; where too many wait for a `start`, the oldest is closed."""
    monkeypatch.setattr(app, "WAITING_STREAMS", 3)
    async with serve("limits.simultaneous_calls=1") as served, contextlib.AsyncExitStack() as held:
        idle = [await held.enter_async_context(served.phone(str(number), start=False)) for number in range(5)]
        async with served.phone("caller") as caller:
            await caller.ask()
            assert (await caller.reply())[1]
        for phone in idle[:2]:
            assert (await phone.closed())[0] == media_socket.POLICY
        await idle[4].begin()
        await idle[4].ask()
        assert (await idle[4].reply())[1]


async def test_a_caller_who_finds_no_room_hears_so(serve):
    """Over the limit the webhook's answer is spoken and ends the call; with room it connects the stream."""
    async with serve("limits.simultaneous_calls=1") as served, httpx.AsyncClient() as client:
        async with served.phone("1"):
            await wait_until(lambda: served.admission.active)
            answer = await client.post(f"{base(served)}/twilio/voice")
            assert (answer.status_code, "<Say>" in answer.text, "<Hangup/>" in answer.text) == (200, True, True)
            assert "<Connect>" not in answer.text
        await served.idle()
        assert "<Connect>" in (await client.post(f"{base(served)}/twilio/voice")).text


async def test_an_agent_that_stops_takes_no_more_calls(serve):
    """It is alive and not ready; the webhook says so, and so does the socket."""
    async with serve() as served, httpx.AsyncClient() as client:
        assert (await client.get(f"{base(served)}/readyz")).status_code == 200
        served.admission.drain()
        assert (await client.get(f"{base(served)}/readyz")).status_code == 503
        assert (await client.get(f"{base(served)}/healthz")).status_code == 200
        assert "<Hangup/>" in (await client.post(f"{base(served)}/twilio/voice")).text
        with pytest.raises(websockets.InvalidStatus):
            async with served.phone():
                pass


async def test_strangers_do_not_read_the_metrics(serve, monkeypatch):
    """Only this machine, and not by its proxy; with a token, whoever has it."""
    async with serve() as served, httpx.AsyncClient() as client:

        async def status(**headers: str) -> int:
            return (await client.get(f"{base(served)}/metrics", headers=headers)).status_code

        assert await status() == 200
        for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            assert await status(**{name: "203.0.113.9"}) == 403
        for host in ("agent.example", "agent.example:80", "[", "", "127.0.0.1.agent.example"):
            assert await status(Host=host) == 403
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "[::1]"):
            assert await status(Host=host) == 200
        monkeypatch.setenv("TURNGAP_METRICS_TOKEN", "s3cret")
        assert await status() == 403
        assert await status(Authorization="Bearer wrong") == 403
        assert await status(Authorization="Bearer s3cret", **{"X-Forwarded-For": "203.0.113.9"}) == 200


async def test_a_host_that_is_no_host_is_refused(serve):
    """The signature's URL is made of the Host header, which may be anything: that is no error of the server's."""
    async with serve(token=TOKEN) as served, httpx.AsyncClient() as client:
        for host in ("[", "[::1", "a:b:c", "a:99999999", "%00"):
            headers = {"Host": host, "X-Twilio-Signature": "AAAA"}
            assert (await client.post(f"{base(served)}/twilio/voice", data=FORM, headers=headers)).status_code == 403
            with pytest.raises(websockets.InvalidStatus, match="403"):
                await websockets.connect(served.url, additional_headers={"Host": host})


@pytest.mark.parametrize("host", ["a?b", "a/b", "a b", "", "ä", "<a>", "a#b", "a@b", "a:123456"])
async def test_twiml_names_no_host_that_is_none(serve, host):
    """Where nothing is signed, the stream's URL would be what a stranger put into the Host header."""
    async with serve() as served, httpx.AsyncClient() as client:
        answer = await client.post(
            f"{base(served)}/twilio/voice",
            data=FORM,
            headers={"X-Forwarded-Host": host.encode(), "Host": host.encode()},
        )
        assert answer.status_code == 400


async def test_a_huge_form_is_refused(serve):
    """No webhook of Twilio's is larger than 64 KiB."""
    async with serve() as served, httpx.AsyncClient() as client:
        answer = await client.post(f"{base(served)}/twilio/voice", content=b"a=" + b"x" * 70_000)
    assert answer.status_code == 413


async def test_health_and_metrics(serve):
    """Health names the profile; metrics count calls, turns and stages, and tell the loop's lag."""
    async with serve() as served, httpx.AsyncClient() as client:
        async with served.phone() as phone:
            await phone.ask()
            await phone.reply()
            assert served.count("turngap_active_calls") == 1
            await phone.hang_up()
            await served.idle()
        health = await client.get(f"{base(served)}/healthz")
        text = (await client.get(f"{base(served)}/metrics")).text
        assert health.json() == {"status": "ok", "profile": "scripted"}
        assert "turngap_event_loop_lag_p99_seconds" in text
        assert 'turngap_kv_cache_bytes{figure="reserved"} NaN' in text
        assert served.count("turngap_active_calls") == 0
        assert served.count("turngap_turns_total", result="replied") == 1
        assert served.count("turngap_stage_seconds_count", stage="first_token") == 1
        assert served.count("turngap_answer_seconds_count") == 1
        assert served.count("turngap_answer_seconds_sum") > 0
        assert "process_resident_memory_bytes" in text


async def test_the_socket_sends_at_once_and_uncompressed(serve):
    """Nagle's algorithm is off, and no compression is agreed even where the caller offers it."""
    async with serve() as served, websockets.connect(served.url) as socket_:
        assert socket_.response.headers.get("Sec-WebSocket-Extensions") is None
        (connection,) = served.http.server_state.connections
        own = connection.transport.get_extra_info("socket")
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
