"""Ports, sound, Twilio's settings and optional packages, and the commands that follow from them."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

from turngap.doctor import surroundings
from turngap.doctor.abilities import list_abilities
from turngap.doctor.agent import AgentFacts, Weights
from turngap.doctor.checks import Ability, Check, Group, State
from turngap.doctor.surroundings import SurroundingFacts, judge_surroundings, read_surroundings

TWILIO = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_API_KEY": "SK" + "1" * 32,
    "TWILIO_API_SECRET": "s3cret" * 5,
    "TWILIO_AUTH_TOKEN": "a" * 32,
}
FACTS = SurroundingFacts(
    loopback_problem="",
    serve_port_free=True,
    sound_problem="",
    twilio_problem="",
    has_twilio_settings=True,
    has_auth_token=True,
    missing_extras=(),
)
AGENT = AgentFacts("cpu", False, (), (), "/cache", 1 << 40, has_hub_token=False)
GOOD = Group("", (Check("timer", State.OK, ""),))


def abilities(
    agent: AgentFacts = AGENT, machine: Group = GOOD, of_agent: Group = GOOD, **changes: Any
) -> dict[str, Ability]:
    listed = list_abilities(agent, machine, GOOD, of_agent, replace(FACTS, **changes))
    return {ability.command: ability for ability in listed}


def test_credentials_are_never_kept_or_shown() -> None:
    """Whether they are there, and nothing of them."""
    facts = read_surroundings(TWILIO)
    text = repr(facts) + repr(judge_surroundings(facts))
    assert (facts.twilio_problem, facts.has_auth_token) == ("", True)
    assert [value for value in TWILIO.values() if value in text] == []
    malformed = read_surroundings(TWILIO | {"TWILIO_API_KEY": "SK-my-secret"})
    assert "TWILIO_API_KEY is malformed" in malformed.twilio_problem
    assert "SK-my-secret" not in repr(malformed)


def test_a_port_in_use_is_seen(monkeypatch: Any) -> None:
    """Somebody listens where `turngap serve` would."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(surroundings, "SERVE_PORT", taken.getsockname()[1])
        facts = read_surroundings({})
    assert not facts.serve_port_free
    port = next(check for check in judge_surroundings(facts).checks if check.name == "port")
    assert port.state is State.WARNING
    assert "--port 0" in port.remedy


def test_all_works_where_nothing_is_missing() -> None:
    """Every command is OK and needs no explanation."""
    assert {(ability.state, ability.why) for ability in abilities().values()} == {(State.OK, "")}


def test_what_a_missing_part_stops() -> None:
    """An extra stops its own command; a missing engine stops what starts the agent, and nothing else."""
    without = abilities(missing_extras=("pytest", "live", "parquet"))
    stopped = [command for command, ability in without.items() if ability.state is State.PROBLEM]
    assert stopped == ["turngap export --format parquet", "pytest --benchmark", "turngap smoke --fake", "turngap smoke"]
    assert without["pytest --benchmark"].why == "pip install 'turngap[pytest]'"
    bad = Group("", (Check("engines", State.PROBLEM, "no ctranslate2"),))
    broken = abilities(replace(AGENT, problems=("stt: no ctranslate2",)), of_agent=bad)
    stopped = [command for command, ability in broken.items() if ability.state is State.PROBLEM]
    assert stopped == ["turngap run", "turngap run gate --budget sub500", "turngap serve", "turngap talk"]
    assert broken["turngap run"].why == "stt: no ctranslate2"


def test_a_noisy_machine_warns_of_the_gate_alone() -> None:
    """It measures, but a verdict may be INVALID; the reasons are named."""
    noisy = Group("", (Check("timer", State.WARNING, ""), Check("load", State.WARNING, "")))
    found = abilities(machine=noisy)
    assert found["turngap run gate --budget sub500"] == Ability(
        "turngap run gate --budget sub500", State.WARNING, "may end INVALID: timer, load"
    )
    assert found["turngap run"].state is State.OK


def test_what_is_fetched_first_is_said() -> None:
    """A run fetches weights by itself; its profile is in the commands."""
    weights = (Weights("csm-1b", 7, "Apache-2.0", gated=False, here=False, problem=None),)
    found = abilities(replace(AGENT, profile="a100", weights=weights))
    assert found["turngap run --profile a100"].why == "fetches csm-1b first"


def test_no_loopback_stops_every_call() -> None:
    """Caller and agent could not talk."""
    found = abilities(loopback_problem="no socket on 127.0.0.1 (Operation not permitted)")
    assert found["turngap run --url ws://HOST:PORT/PATH"].state is State.PROBLEM
    assert found["turngap run"].state is State.PROBLEM
