"""What a profile needs, as the agent's own program tells, and how it is judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from turngap.doctor.agent import AgentFacts, Weights, judge_agent, read_agent
from turngap.doctor.checks import Check, State
from turngap_agent.errors import AgentError

CSM = Weights("csm-1b", 7_150_000_000, "Apache-2.0", gated=True, here=False, problem=None)
FACTS = AgentFacts("a100", True, (), (CSM,), "/cache", 100_000_000_000, has_hub_token=True)


def check(name: str, **changes: Any) -> Check:
    return next(check for check in judge_agent(replace(FACTS, **changes)).checks if check.name == name)


def test_the_agent_tells_what_a_profile_needs() -> None:
    """The real program: a profile without models, and one for a GPU."""
    scripted = read_agent("scripted", {})
    assert (scripted.profile, scripted.needs_gpu, scripted.weights, scripted.bytes_to_fetch) == (
        "scripted",
        False,
        (),
        0,
    )
    assert not scripted.has_hub_token
    large = read_agent("a100", {"HF_TOKEN": "hf_secret"})
    assert large.needs_gpu
    assert "csm-1b" in {one.name for one in large.weights}
    assert large.has_hub_token
    assert "hf_secret" not in repr(large)


def test_a_profile_that_the_agent_refuses() -> None:
    """The agent's own line is the message."""
    with pytest.raises(AgentError, match="no-such-profile"):
        read_agent("no-such-profile", {})


def test_weights_that_are_missing_are_fetched_by_a_command() -> None:
    """Missing is a warning with its command; the room for it is told."""
    missing = check("weights csm-1b")
    assert (missing.state, missing.remedy) == (State.WARNING, "turngap weights pull csm-1b")
    assert check("room for weights").state is State.OK
    assert check("room for weights", cache_free=7_000_000_000).state is State.PROBLEM


def test_weights_behind_a_login() -> None:
    """Without a token they cannot be fetched at all."""
    assert check("weights csm-1b", has_hub_token=False).state is State.PROBLEM
    assert "HF_TOKEN" in check("weights csm-1b", has_hub_token=False).remedy


def test_weights_that_are_damaged() -> None:
    """The cache's own sentence, parted into what is wrong and what to do."""
    damaged = replace(CSM, problem="model.bin is damaged (3 bytes, not 9): run `turngap weights pull csm-1b`")
    found = check("weights csm-1b", weights=(damaged,))
    assert found.state is State.PROBLEM
    assert (found.found, found.remedy) == ("model.bin is damaged (3 bytes, not 9)", "run `turngap weights pull csm-1b`")


def test_engines_that_are_missing() -> None:
    """Each problem has a line; without any, one line says that all is there."""
    found = check("engines", problems=("stt: engine x is not installed (no y); run: pip install 'z'",))
    assert (found.state, found.found) == (State.PROBLEM, "stt: engine x is not installed (no y)")
    assert found.remedy == "run: pip install 'z'"
    assert check("engines").state is State.OK
