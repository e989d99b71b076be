"""Checks of what is around the agent: ports, sound devices, Twilio's settings, optional packages."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from turngap_agent.errors import UsageError

from turngap.doctor.checks import Check, Group, State
from turngap.live.credentials import AUTH_TOKEN, read_credentials
from turngap.talk import devices

SERVE_PORT = 8080
"""Where `turngap serve` listens by default."""
EXTRAS = {
    "live": ("twilio", "aiohttp"),
    "talk": ("sounddevice",),
    "pytest": ("pytest", "pytest_benchmark"),
    "parquet": ("pyarrow",),
}
"""By extra, the import names of its packages."""


@dataclass(frozen=True, slots=True)
class SurroundingFacts:
    """Ports, sound, Twilio and packages. No secret is kept: only whether it is there."""

    loopback_problem: str
    """Why no socket can be opened on 127.0.0.1; "" if one can."""
    serve_port_free: bool
    sound_problem: str
    """Why there is no sound device; "" if there is one."""
    twilio_problem: str
    """What is missing or malformed; "" if a live call has its credentials."""
    has_twilio_settings: bool
    """Whether any of them is set."""
    has_auth_token: bool
    missing_extras: tuple[str, ...]


def read_surroundings(environment: Mapping[str, str]) -> SurroundingFacts:
    """Try the ports and devices, and read which settings are there."""
    missing = [extra for extra, packages in EXTRAS.items() if not all(map(importlib.util.find_spec, packages))]
    return SurroundingFacts(
        loopback_problem=_try_port(0),
        serve_port_free=not _try_port(SERVE_PORT),
        sound_problem=_find_sound_problem(),
        twilio_problem=_find_twilio_problem(environment),
        has_twilio_settings=any(name.startswith("TWILIO_") and value for name, value in environment.items()),
        has_auth_token=bool(environment.get(AUTH_TOKEN)),
        missing_extras=tuple(missing),
    )


def judge_surroundings(facts: SurroundingFacts) -> Group:
    """Return the checks of what is around the agent; only a network without 127.0.0.1 is a problem."""
    return Group(
        "surroundings",
        (
            _judge_loopback(facts),
            _judge_serve_port(facts),
            _judge_sound(facts),
            _judge_twilio(facts),
            _judge_auth_token(facts),
        ),
    )


def _judge_loopback(facts: SurroundingFacts) -> Check:
    if not facts.loopback_problem:
        return Check("loopback", State.OK, "sockets can be opened on 127.0.0.1")
    remedy = "caller and agent talk over 127.0.0.1: allow it in the container or firewall"
    return Check("loopback", State.PROBLEM, facts.loopback_problem, remedy)


def _judge_serve_port(facts: SurroundingFacts) -> Check:
    if facts.serve_port_free:
        return Check("port", State.OK, f"{SERVE_PORT} is free for `turngap serve`")
    return Check("port", State.WARNING, f"{SERVE_PORT} is in use", "turngap serve --port 0 takes a free one")


def _judge_sound(facts: SurroundingFacts) -> Check:
    if not facts.sound_problem:
        return Check("sound", State.OK, "there are sound devices")
    found, _, remedy = facts.sound_problem.partition("; ")
    return Check("sound", State.WARNING, found, f"only `turngap talk` needs them: {remedy}")


def _judge_twilio(facts: SurroundingFacts) -> Check:
    if not facts.twilio_problem:
        return Check("Twilio", State.OK, "all credentials are set and well-formed (not checked with Twilio)")
    found, _, remedy = facts.twilio_problem.partition(": ")
    return Check("Twilio", State.WARNING, found, f"only live calls need it: {remedy}")


def _judge_auth_token(facts: SurroundingFacts) -> Check:
    if facts.has_auth_token:
        return Check("signatures", State.OK, f"{AUTH_TOKEN} is set: `turngap serve` answers signed calls only")
    remedy = f"set {AUTH_TOKEN} before `turngap serve` listens on a public address"
    return Check("signatures", State.WARNING, f"{AUTH_TOKEN} is not set", remedy)


def _try_port(port: int) -> str:
    """Return why nothing can listen on the port of 127.0.0.1; "" if something can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return f"no socket on 127.0.0.1 ({error.strerror})"
    return ""


def _find_sound_problem() -> str:
    try:
        devices.describe_devices()
    except UsageError as error:
        return str(error).removeprefix("talk: ")
    return ""


def _find_twilio_problem(environment: Mapping[str, str]) -> str:
    try:
        read_credentials(environment)
    except UsageError as error:
        return str(error)
    return ""
