"""Pins what is refused before anything is dialled, and that a fake needs nothing of the real thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turngap import scenario as scenarios
from turngap.live import option_checks
from turngap.live.smoke_plan import GREETING_MS, SmokeOptions
from turngap.scenario import Scenario, Turn
from turngap_agent.errors import UsageError

ENVIRONMENT = {
    "TWILIO_ACCOUNT_SID": "AC" + "a" * 32,
    "TWILIO_API_KEY": "SK" + "b" * 32,
    "TWILIO_API_SECRET": "c" * 32,
    "TWILIO_AUTH_TOKEN": "d" * 32,
    "TURNGAP_AGENT_NUMBER": "+15005550011",
    "TURNGAP_CALLER_NUMBER": "+15005550010",
    "TURNGAP_ALLOWED_NUMBERS": "+15005550010,+15005550011,+15005550099",
}
GOOD = SmokeOptions(confirm="+15005550011", public_url="https://a.example")


def test_an_order_holds_everything_a_call_needs(tmp_path: Path) -> None:
    """The limit Twilio keeps, the worst case, and no number where it would be shown."""
    order = option_checks.make(GOOD, ENVIRONMENT)
    assert order.to == "+15005550011"
    assert order.time_limit_s > 30
    assert 0 < order.cost.usd <= 1.0
    assert "5005550011" not in repr(replace(order, masker=order.masker))
    assert not order.alone


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"confirm": None}, "--confirm"),
        ({"confirm": "+15005550010"}, "--confirm"),
        ({"to": "+15005550077", "confirm": "+15005550077"}, "allow-list"),
        ({"from_": "+15005550077"}, "allow-list"),
        ({"to": "911", "confirm": "911"}, "E.164"),
        ({"to": "+15005550010", "confirm": "+15005550010"}, "two are needed"),
        ({"to": "+15005550099", "confirm": "+15005550099", "echo": True}, "drop"),
        ({"to": "+15005550099", "confirm": "+15005550099", "profile": "cpu"}, "drop"),
        ({"public_url": None}, "--public-url"),
        ({"public_url": "http://a.example"}, "https"),
        ({"turns": 0}, "--turns"),
        ({"turns": 2, "calls": 3}, "--calls"),
        ({"turns": 20, "calls": 11}, "calls"),
        ({"turns": 20, "calls": 10, "echo": True}, "calls"),
        ({"turns": 100, "calls": 1}, "more --calls"),
        ({"max_usd": 0.01}, "--max-cost"),
        ({"price_usd": 0.0}, "over 0"),
        ({"uplink_ms": 10.0}, "--fake"),
        ({"fake_does": "busy"}, "--fake"),
        ({"scenario": "no-such"}, "no scenario"),
        ({"profile": "no-such"}, "no-such"),
        ({"allow": Path("/no/such/file")}, "can't be read"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    """One line, with no number in it."""
    with pytest.raises(UsageError, match=message) as caught:
        option_checks.make(replace(GOOD, **changed), ENVIRONMENT)
    assert "\n" not in str(caught.value)
    assert "500555" not in str(caught.value).replace("+15005550006", "")


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_nothing_of_the_environment_can_be_left_out(name: str) -> None:
    """Credentials, numbers and the list."""
    with pytest.raises(UsageError):
        option_checks.make(GOOD, {key: value for key, value in ENVIRONMENT.items() if key != name})


def test_ci_refuses_whatever_else_is_right() -> None:
    """And not the fake, which rings nothing."""
    with pytest.raises(UsageError, match="told twice"):
        option_checks.make(GOOD, ENVIRONMENT | {"CI": "true"})
    option_checks.make(SmokeOptions(fake=True), {"CI": "true"})


def test_a_fake_takes_nothing_from_the_environment() -> None:
    """Neither credentials nor numbers: it could not dial if it would."""
    order = option_checks.make(
        SmokeOptions(fake=True, uplink_ms=60, downlink_ms=90, jitter_ms=20, loss=0.01), ENVIRONMENT
    )
    assert order.fake is not None
    assert order.credentials.account_sid != ENVIRONMENT["TWILIO_ACCOUNT_SID"]
    assert order.public_url is None
    assert order.fake.uplink.delay_ms == 60
    assert order.fake.downlink.jitter_ms == 20
    assert order.clips is not None


def test_a_fake_takes_a_network_by_name() -> None:
    """What is given for itself comes on top."""
    order = option_checks.make(SmokeOptions(fake=True, network="jitter20", uplink_ms=10), {})
    assert order.fake is not None
    assert order.fake.uplink.jitter_ms > 0
    assert order.fake.uplink.delay_ms >= 10


def test_a_fake_run_listens_where_it_is_told() -> None:
    """Else at a free port; a real one at the port that is forwarded to."""
    assert option_checks.make(SmokeOptions(fake=True, port=9876), {}).port == 9876
    assert option_checks.make(SmokeOptions(fake=True), {}).port == 0
    assert option_checks.make(GOOD, ENVIRONMENT).port == 8765


def test_a_network_that_breaks_off_drops_the_fakes_call(tmp_path: Path) -> None:
    """At the time it says, as a network does: nobody hangs up."""
    file = tmp_path / "broken.yaml"
    file.write_text("name: broken\ndisconnect_after_s: 7\n")
    order = option_checks.make(SmokeOptions(fake=True, network=str(file)), {})
    assert order.fake is not None
    assert order.fake.behaviour == "dropped"
    assert order.fake.ended_after_s == 7


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"agent_ms": 10.0}, "--agent-ms"),
        ({"uplink_ms": -1.0}, "--uplink-ms"),
        ({"jitter_ms": 1e9}, "--jitter-ms"),
        ({"loss": 0.9}, "--loss"),
        ({"fake_does": "sing"}, "--fake-does"),
        ({"network": "no-such"}, "no network"),
        ({"to": "123"}, "E.164"),
        ({"from_": "+15005550006", "host": "0.0.0.0"}, "--from, --host: for a real call alone"),
        ({"public_url": "https://a.invalid"}, "--public-url: for a real call alone"),
    ],
)  # fmt: skip
def test_a_fake_that_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    """One line each."""
    with pytest.raises(UsageError, match=message):
        option_checks.make(replace(SmokeOptions(fake=True), **changed), {})


def test_turns_are_dealt_evenly() -> None:
    """20 turns in 3 calls; somebody else's agent may greet before the first of each."""
    order = option_checks.make(
        replace(GOOD, to="+15005550099", confirm="+15005550099", turns=20, calls=3, max_usd=5.0), ENVIRONMENT
    )
    assert [len(call.turns) for call in order.request.calls] == [6, 7, 7]
    assert all(call.turns[0].pause_ms >= GREETING_MS for call in order.request.calls)
    assert order.alone


def test_a_turn_without_words_cannot_be_said_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is by its words that a turn is found again on the other leg."""
    read = scenarios.load

    def with_a_silent_turn(path: Path) -> Scenario:
        return read(path).model_copy(update={"turns": (Turn.model_construct(id="silence"),)})

    monkeypatch.setattr(scenarios, "load", with_a_silent_turn)
    with pytest.raises(UsageError, match="has no words"):
        option_checks.make(GOOD, ENVIRONMENT)
