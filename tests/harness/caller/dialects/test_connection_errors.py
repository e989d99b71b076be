"""An agent that can't be reached: one line, with Twilio's code for Twilio's dialect only."""

from __future__ import annotations

import asyncio
import socket

import pytest
from turngap.caller.call import place_call
from turngap.caller.connection_errors import check_listening
from turngap.caller.dialects.registry import DIALECTS
from turngap.caller.scheduler import Scheduler
from turngap.model.records import CallEnd, CallRecord
from turngap.scenario import PlannedCall
from turngap_agent.errors import AgentError

from tests.harness.caller.calls import FastClock, clip, turn


def _closed_url() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"ws://127.0.0.1:{unused.getsockname()[1]}/media"


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_call_that_is_refused_says_so_without_another_platform_s_code(name: str) -> None:
    """What was tried and what to do; the number is Twilio's."""
    url = _closed_url()

    async def place() -> CallRecord:
        clock = FastClock()
        async with Scheduler(clock).running() as scheduler:
            planned = PlannedCall(0, (turn(),), probe=False)
            return await place_call(url, planned, {"a": clip()}, clock=clock, scheduler=scheduler, seed=1, dialect=name)

    record = asyncio.run(place())
    assert record.end is CallEnd.REFUSED
    assert record.detail.startswith(f"no connection to {url}: connection refused; is the agent running")
    assert record.detail.endswith("(Twilio 31902)") == (name == "twilio")
    assert ("Twilio" in record.detail) == (name == "twilio")


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_the_check_before_a_run_says_the_same(name: str) -> None:
    """Its code has the number for Twilio only."""
    with pytest.raises(AgentError, match="no connection to ws://127") as raised:
        asyncio.run(check_listening(_closed_url(), name))
    assert raised.value.code == ("agent.31902" if name == "twilio" else "agent")
    assert ("Twilio" in str(raised.value)) == (name == "twilio")
