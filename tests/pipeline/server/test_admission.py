"""Lines and nonces: counted, used once, and short-lived."""

import pytest
from turngap_agent import clock
from turngap_agent.errors import ProtocolError
from turngap_agent.server import admission
from turngap_agent.server.admission import MAX_NONCES, NONCE_LIFE_NS, NONCE_PARAMETER, Admission, RequestUrl


@pytest.fixture
def now(monkeypatch):
    """The agent's clock, set by hand."""
    times = [0]
    monkeypatch.setattr(clock, "now_ns", lambda: times[0])
    return times


def test_calls_are_counted():
    """As many calls as the profile allows, and again after one has ended."""
    door = Admission(2, None)
    assert [door.start_call() for _ in range(3)] == [True, True, False]
    assert door.active == 2
    door.end_call()
    assert door.start_call()


def test_a_nonce_opens_one_stream(now):
    """Used once it is gone; an unknown one never was."""
    door = Admission(1, "token")
    nonce = {NONCE_PARAMETER: door.new_nonce("CA1")}
    door.check_nonce(nonce, "CA1")
    for parameters in (nonce, {NONCE_PARAMETER: "guess"}, {}):
        with pytest.raises(ProtocolError):
            door.check_nonce(parameters, "CA1")


def test_a_nonce_opens_the_stream_of_its_own_call(now):
    """Another call's nonce is refused, and used up."""
    door = Admission(1, "token")
    nonce = {NONCE_PARAMETER: door.new_nonce("CA1")}
    with pytest.raises(ProtocolError, match="another call"):
        door.check_nonce(nonce, "CA2")
    with pytest.raises(ProtocolError, match="used"):
        door.check_nonce(nonce, "CA1")


def test_calls_a_minute_are_limited(now):
    """Those of the last minute count, ended ones too; a minute later there is room again."""
    door = Admission(5, None, calls_a_minute=2)
    for _ in range(2):
        assert door.start_call()
        door.end_call()
    assert not door.has_room
    assert not door.start_call()
    now[0] = admission.MINUTE_NS - 1
    assert not door.start_call()
    now[0] = admission.MINUTE_NS
    assert door.start_call()


def test_a_nonce_grows_old(now):
    """One that was not used within its life is refused, and forgotten when the next is made."""
    door = Admission(1, "token")
    old = door.new_nonce("CA1")
    now[0] = NONCE_LIFE_NS
    with pytest.raises(ProtocolError):
        door.check_nonce({NONCE_PARAMETER: old}, "CA1")


def test_nonces_do_not_pile_up(now, monkeypatch):
    """Webhooks that no stream follows cost bounded memory: the oldest nonce makes room."""
    monkeypatch.setattr(admission, "MAX_NONCES", 3)
    door = Admission(1, "token")
    first, *_, last = [door.new_nonce("CA1") for _ in range(4)]
    with pytest.raises(ProtocolError):
        door.check_nonce({NONCE_PARAMETER: first}, "CA1")
    door.check_nonce({NONCE_PARAMETER: last}, "CA1")
    assert MAX_NONCES > 3


def test_without_a_token_nothing_is_checked():
    """Neither signature nor nonce."""
    door = Admission(1, None)
    request = RequestUrl.read("http", "/twilio/voice", "", {"host": "h"})
    door.check_webhook(request, b"\xff no form")
    door.check_upgrade(request)
    door.check_nonce({}, "CA1")


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ({"host": "own:8080"}, "http", "own:8080"),
        ({"host": "own", "x-forwarded-host": "agent.example", "x-forwarded-proto": "HTTPS"}, "https", "agent.example"),
        ({"host": "own", "x-forwarded-host": "a.example, b", "x-forwarded-proto": "https,http"}, "https", "a.example"),
        ({"host": "own", "x-forwarded-proto": ""}, "http", "own"),
    ],
)
def test_the_outermost_proxy_tells_the_url(headers, scheme, host):
    """Forwarding headers win, the first of several being the one Twilio spoke to."""
    request = RequestUrl.read("http", "/p", "q=1", headers)
    assert (request.scheme, request.host, request.target) == (scheme, host, "/p?q=1")
    assert request.stream_url == f"wss://{host}/twilio/media"
