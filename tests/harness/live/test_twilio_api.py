"""Pins the requests to Twilio's REST interface, through the official client: limits always set, `create` once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from fastapi import FastAPI
from turngap.live.credentials import Credentials
from turngap.live.fake.settings import FakeBehaviour
from turngap.live.masking import Masker
from turngap.live.server import open_listener, serve_app
from turngap.live.twilio_api import RefusedError, TwilioClient
from turngap_agent.errors import LiveError, UsageError

from tests.harness.live.fake_account import FakeAccount, fake_account

pytestmark = [  # what twilio 9.13 does is deprecated in aiohttp 3.14
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated"),
]

Scene = Callable[[FakeAccount], Awaitable[None]]


def play(scene: Scene, **settings: object) -> None:
    async def run() -> None:
        async with fake_account(**settings) as on:
            await scene(on)

    asyncio.run(run())


async def nothing() -> None:
    """No pause."""


def test_a_call_carries_its_limits() -> None:
    """Twilio ends it by itself; a recording is dual and untrimmed."""

    async def scene(on: FakeAccount) -> None:
        sid = await on.twilio.create(on.call_request(record=True, amd_callback="http://127.0.0.1:9/amd"))
        call = on.fake.calls[sid]
        assert call.parameter("TimeLimit") == "60"
        assert call.parameter("RecordingChannels") == "dual"
        assert call.parameter("Trim") == "do-not-trim"
        assert call.parameter("AsyncAmd") == "true"
        assert call.form["StatusCallbackEvent"] == ["initiated", "ringing", "answered", "completed"]

    play(scene)


def test_a_call_without_a_time_limit_is_never_created() -> None:
    """There is no way to leave it out: 0 and less are refused."""

    async def scene(on: FakeAccount) -> None:
        for limit in (0, -1):
            with pytest.raises(UsageError, match="time limit"):
                await on.twilio.create(on.call_request(time_limit_s=limit))
        assert not on.fake.calls

    play(scene)


def test_a_refusal_is_one_masked_line() -> None:
    """Twilio's text would hold the number, its exception the account's SID."""

    async def scene(on: FakeAccount) -> None:
        with pytest.raises(RefusedError) as caught:
            await on.twilio.create(on.call_request(from_="+15005550077"))
        assert "21210" in str(caught.value)
        assert "5005550077" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    play(scene)


def test_wrong_credentials_are_named_and_not_shown() -> None:
    """Error 20003 names the settings to check."""

    async def scene(on: FakeAccount) -> None:
        own = on.fake.settings.credentials
        wrong = replace(own, api_secret="0" * 32)
        twilio = TwilioClient(wrong, Masker(wrong.secrets), on.twilio.client.api.base_url)
        try:
            with pytest.raises(RefusedError, match="TWILIO_API_SECRET") as caught:
                await twilio.voice_url("+15005550011")
            assert own.account_sid not in str(caught.value)
        finally:
            await twilio.close()

    play(scene)


def test_create_is_requested_once_whatever_the_response() -> None:
    """Errors of the server, rubbish and hang-ups: one request each, never another."""
    requests = 0

    async def run() -> None:
        app = FastAPI()

        @app.post("/{path:path}")
        async def create(path: str) -> None:
            nonlocal requests
            requests += 1
            raise RuntimeError

        credentials = Credentials("AC" + "0" * 32, "SK" + "0" * 32, "x" * 32, "0" * 32)
        with open_listener("127.0.0.1", 0) as listener:
            async with serve_app(app, listener), fake_account() as on:
                twilio = TwilioClient(credentials, Masker(), f"http://127.0.0.1:{listener.getsockname()[1]}")
                try:
                    with pytest.raises(LiveError) as caught:
                        await twilio.create(on.call_request())
                    assert not isinstance(caught.value, RefusedError)
                finally:
                    await twilio.close()

    asyncio.run(run())
    assert requests == 1


def test_an_unreachable_server_is_one_line() -> None:
    """One line; the client's exception, with its URL, does not show."""

    async def run() -> None:
        credentials = Credentials("AC" + "0" * 32, "SK" + "0" * 32, "x" * 32, "0" * 32)
        twilio = TwilioClient(credentials, Masker(), "http://127.0.0.1:9")
        try:
            with pytest.raises(LiveError, match="not reached") as caught:
                await twilio.status("CA" + "0" * 32)
            assert "0" * 32 not in str(caught.value)
        finally:
            await twilio.close()

    asyncio.run(run())


def test_a_call_left_ringing_by_a_lost_answer_is_ended() -> None:
    """The call was placed though `create` failed: its numbers identify it, and others are left alone."""

    async def scene(on: FakeAccount) -> None:
        request, since_ns = on.call_request(), on.clock.unix_ns()
        with pytest.raises(LiveError):
            await on.twilio.create(request)
        assert await on.twilio.end_unconfirmed_calls("+15005550001", request.from_, since_ns, nothing) == []
        assert await on.twilio.end_unconfirmed_calls(request.to, request.from_, since_ns + 3_600 * 10**9, nothing) == []
        assert await on.twilio.end_unconfirmed_calls(request.to, request.from_, since_ns, nothing)
        (call,) = on.fake.calls.values()
        for _ in range(200):
            if call.status in ("canceled", "completed"):
                break
            await on.clock.sleep_ns(50_000_000)
        assert call.status in ("canceled", "completed")

    play(scene, behaviour=FakeBehaviour.LOST)


def test_ending_a_call_that_has_ended_is_no_fault() -> None:
    """Twilio refuses it; it is over all the same."""

    async def scene(on: FakeAccount) -> None:
        sid = await on.twilio.create(on.call_request())
        for _ in range(200):
            if (await on.twilio.status(sid))[0] == "busy":
                break
            await on.clock.sleep_ns(50_000_000)
        assert (await on.twilio.status(sid))[0] == "busy"
        await on.twilio.end(sid, nothing)

    play(scene, behaviour=FakeBehaviour.BUSY, ring_s=0.01)


def test_ending_a_call_is_retried_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal while the status can't be seen is not the last word, nor is a line that fails for a while."""

    async def scene(on: FakeAccount) -> None:
        sid = await on.twilio.create(on.call_request())
        faults = [RefusedError("no"), LiveError("not reached")]
        ask = on.twilio.request

        async def failing(what: str, request: Callable[[], Awaitable[object]]) -> object:
            if what == "the call's status":
                raise LiveError("not reached")
            if faults:
                raise faults.pop()
            return await ask(what, request)

        monkeypatch.setattr(on.twilio, "request", failing)
        await on.twilio.end(sid, nothing)
        assert not faults
        assert on.fake.calls[sid]._ended.is_set()

    play(scene)


@pytest.mark.parametrize("trial", [True, False])
def test_trial_accounts_are_known(trial: bool) -> None:
    """By the account's type."""

    async def scene(on: FakeAccount) -> None:
        assert await on.twilio.is_trial() is trial

    play(scene, trial=trial)


def test_numbers_of_the_account_are_known() -> None:
    """With where they are answered; somebody else's is none."""

    async def scene(on: FakeAccount) -> None:
        assert await on.twilio.voice_url("+15005550011") == "https://a.example/agent/voice"
        assert await on.twilio.voice_url("+15005550077") is None

    play(scene, voice_url="https://a.example/agent/voice")


def test_twilios_environment_does_not_lead_a_fake_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    """TWILIO_EDGE and TWILIO_REGION would change the host."""
    monkeypatch.setenv("TWILIO_EDGE", "ashburn")
    monkeypatch.setenv("TWILIO_REGION", "us1")

    async def scene(on: FakeAccount) -> None:
        assert await on.twilio.is_trial() is False

    play(scene)


def test_stream_errors_are_read_from_twilio() -> None:
    """The fake's notifications have Twilio's codes, and are explained."""

    async def scene(on: FakeAccount) -> None:
        sid = await on.twilio.create(on.call_request())
        for _ in range(200):
            if (await on.twilio.status(sid))[0] in ("completed", "failed"):
                break
            if on.fake.calls[sid].notifications:
                on.fake.calls[sid].end()
            await on.clock.sleep_ns(50_000_000)
        assert any("refused the connection" in line for line in await on.twilio.warnings(sid))

    play(scene, ring_s=0.01)
