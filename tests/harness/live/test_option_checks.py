"""Pins which options are refused before dialling, and that a fake needs no credentials or numbers."""

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


def test_a_plan_has_everything_that_a_call_needs(tmp_path: Path) -> None:
    """The time limit that Twilio enforces, the maximum cost, and no number in its representation."""
    order = option_checks.make_plan(GOOD, ENVIRONMENT)
    assert order.to == "+15005550011"
    assert order.time_limit_s > 30
    assert 0 < order.cost.usd <= 1.0
    assert "5005550011" not in repr(replace(order, masker=order.masker))
    assert not order.caller_leg_only


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"confirm": None}, "--confirm"),
        ({"confirm": "+15005550010"}, "--confirm"),
        ({"to": "+15005550077", "confirm": "+15005550077"}, "allow-list"),
        ({"from_": "+15005550077"}, "allow-list"),
        ({"to": "911", "confirm": "911"}, "E.164"),
        ({"to": "+15005550010", "confirm": "+15005550010"}, "two numbers"),
        ({"to": "+15005550099", "confirm": "+15005550099", "echo": True}, "--echo"),
        ({"to": "+15005550099", "confirm": "+15005550099", "profile": "cpu"}, "--profile"),
        ({"public_url": None}, "--public-url"),
        ({"public_url": "http://a.example"}, "https"),
        ({"turns": 0}, "--turns"),
        ({"turns": 2, "calls": 3}, "--calls"),
        ({"turns": 20, "calls": 11}, "calls"),
        ({"turns": 20, "calls": 10, "echo": True}, "calls"),
        ({"turns": 100, "calls": 1}, "more --calls"),
        ({"max_usd": 0.01}, "--max-cost"),
        ({"price_usd": 0.0}, "--price-per-minute"),
        ({"uplink_ms": 10.0}, "--fake"),
        ({"fake_does": "busy"}, "--fake"),
        ({"scenario": "no-such"}, "no scenario"),
        ({"profile": "no-such"}, "no-such"),
        ({"allow": Path("/no/such/file")}, "can't be read"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(changed: dict[str, Any], message: str) -> None:
    """The error is one line, without a telephone number in it."""
    with pytest.raises(UsageError, match=message) as caught:
        option_checks.make_plan(replace(GOOD, **changed), ENVIRONMENT)
    assert "\n" not in str(caught.value)
    assert "500555" not in str(caught.value).replace("+15005550006", "")


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_every_variable_of_the_environment_is_needed(name: str) -> None:
    """Credentials, numbers and the allow-list: the error names the missing variable."""
    with pytest.raises(UsageError, match=name):
        option_checks.make_plan(GOOD, {key: value for key, value in ENVIRONMENT.items() if key != name})


def test_a_call_from_ci_is_refused_even_if_all_else_is_right() -> None:
    """A fake is allowed: no telephone rings."""
    with pytest.raises(UsageError) as caught:
        option_checks.make_plan(GOOD, ENVIRONMENT | {"CI": "true"})
    assert caught.value.code == "usage.ci"
    option_checks.make_plan(SmokeOptions(fake=True), {"CI": "true"})


def test_a_fake_takes_nothing_from_the_environment() -> None:
    """It has neither credentials nor numbers, so it can't dial by mistake."""
    order = option_checks.make_plan(
        SmokeOptions(fake=True, uplink_ms=60, downlink_ms=90, jitter_ms=20, loss=0.01), ENVIRONMENT
    )
    assert order.fake is not None
    assert order.credentials.account_sid != ENVIRONMENT["TWILIO_ACCOUNT_SID"]
    assert order.public_url is None
    assert order.fake.uplink.delay_ms == 60
    assert order.fake.downlink.jitter_ms == 20
    assert order.clips is not None


def test_a_fake_takes_a_network_by_name() -> None:
    """Single options are added to the network's values."""
    order = option_checks.make_plan(SmokeOptions(fake=True, network="jitter20", uplink_ms=10), {})
    assert order.fake is not None
    assert order.fake.uplink.jitter_ms > 0
    assert order.fake.uplink.delay_ms >= 10


def test_a_fake_run_listens_at_the_given_port() -> None:
    """Without one it takes a free port; a real run takes 8765, to which the public URL is forwarded."""
    assert option_checks.make_plan(SmokeOptions(fake=True, port=9876), {}).port == 9876
    assert option_checks.make_plan(SmokeOptions(fake=True), {}).port == 0
    assert option_checks.make_plan(GOOD, ENVIRONMENT).port == 8765


def test_a_network_that_breaks_off_drops_the_fakes_call(tmp_path: Path) -> None:
    """The call breaks at the network's time, without a hang-up."""
    file = tmp_path / "broken.yaml"
    file.write_text("name: broken\ndisconnect_after_s: 7\n")
    order = option_checks.make_plan(SmokeOptions(fake=True, network=str(file)), {})
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
        ({"from_": "+15005550006", "host": "0.0.0.0"}, "^--from, --host: only for a real call"),
        ({"public_url": "https://a.invalid"}, "^--public-url: only for a real call"),
    ],
)  # fmt: skip
def test_wrong_options_of_a_fake_are_refused(changed: dict[str, Any], message: str) -> None:
    """The error names the option."""
    with pytest.raises(UsageError, match=message):
        option_checks.make_plan(replace(SmokeOptions(fake=True), **changed), {})


def test_turns_are_spread_evenly_over_calls() -> None:
    """20 turns in 3 calls; with --to, each call starts with a pause for the agent's greeting."""
    order = option_checks.make_plan(
        replace(GOOD, to="+15005550099", confirm="+15005550099", turns=20, calls=3, max_usd=5.0), ENVIRONMENT
    )
    assert [len(call.turns) for call in order.request.calls] == [6, 7, 7]
    assert all(call.turns[0].pause_ms >= GREETING_MS for call in order.request.calls)
    assert order.caller_leg_only


def test_a_turn_without_speech_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speech locates an utterance on the other leg, so a live turn needs some; the error names the turn."""
    read = scenarios.load_scenario_file

    def add_silent_turn(path: Path) -> Scenario:
        return read(path).model_copy(update={"turns": (Turn.model_construct(id="silence"),)})

    monkeypatch.setattr(scenarios, "load_scenario_file", add_silent_turn)
    with pytest.raises(UsageError, match="turn 'silence'"):
        option_checks.make_plan(GOOD, ENVIRONMENT)
