"""Calls over SIP and RTP on this machine: answered, refused, ended by either side, and nobody there."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from turngap.calibration.voice import make_voice
from turngap.caller import alaw
from turngap.caller.call import place_call
from turngap.caller.dialects.registry import SIP
from turngap.caller.scheduler import Scheduler
from turngap.caller.sip import signalling
from turngap.findings import find_in_call
from turngap.model.finding import FindingKind
from turngap.model.records import CallEnd, CallRecord, Clip
from turngap.model.turn import Outcome
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap.session.plan import plan_run
from turngap_agent.errors import AgentError, UsageError
from turngap_agent.telephony import mulaw

from tests.harness.caller.calls import FastClock, clip, turn

pytest.importorskip("aiosipua", reason="needs the extra `sip`")
from tests.harness.caller.sip.agent import SipAgent

VOICE = make_voice(8000, 5, -15.0)
TURNS = (turn("a"),)


def place(agent: SipAgent, turns: tuple[Turn, ...] = TURNS, utterance: Clip | None = None) -> CallRecord:
    """Call the agent once."""

    async def main() -> CallRecord:
        clock = FastClock()
        async with agent.serving() as url, Scheduler(clock).running() as scheduler:
            clips = {one.key: utterance or clip() for one in turns}
            planned = PlannedCall(7, turns, probe=False)
            placed = place_call(
                url,
                planned,
                clips,
                clock=clock,
                scheduler=scheduler,
                seed=1,
                custom_parameters={"lang": "en"},
                dialect=SIP,
            )
            record = await asyncio.wait_for(placed, 20)
            await asyncio.sleep(0.05)
            return record

    return asyncio.run(main())


@pytest.mark.parametrize("codecs", [[0], [8]])
def test_a_call_is_answered_heard_and_ended(codecs: list[int]) -> None:
    """μ-law, or A-law where the agent has nothing else: its voice is heard whole, and a BYE ends the call."""
    agent = SipAgent(VOICE, codecs=codecs)
    record = place(agent)
    assert record.end is CallEnd.COMPLETED, record.detail
    assert record.warnings == ()
    heard = np.concatenate([message.pcm for message in record.received])
    coder = mulaw if codecs == [0] else alaw
    assert np.array_equal(heard, coder.decode(coder.encode(VOICE)))
    assert {kind for kind, _ in agent.packets} == set(codecs)
    assert {len(payload) for _, payload in agent.packets} == {160}
    assert agent.byes == 1
    (headers,) = agent.headers
    assert {name.lower(): value for name, value in headers.items()} == {"x-call-sid": record.call_sid, "x-lang": "en"}


def test_an_answer_is_measured_at_its_packet() -> None:
    """t1 is the first sample of a packet, when it was read; that SIP has no marks is no finding."""
    record = place(SipAgent(VOICE))
    (one,) = score_call(record, (), PlannedCall(7, TURNS, probe=False), network_ms=0, cold=False)
    assert one.outcome in (Outcome.ANSWERED, Outcome.INVALID, Outcome.BROKEN)  # a busy host is late on the fast clock
    assert one.t1_ns in [message.play_ns for message in record.received[:10]]  # a busy host makes holes between them
    assert one.turn_gap_ms is not None
    assert one.turn_gap_ms >= 180
    assert FindingKind.NO_MARKS not in {finding.kind for finding in find_in_call(record, [one])}


def test_packets_that_come_twice_are_heard_once() -> None:
    """As a phone plays them."""
    record = place(SipAgent(VOICE, doubles=True))
    assert sum(len(message.pcm) for message in record.received) == len(VOICE)


def test_an_agent_that_hangs_up_ends_the_call() -> None:
    """Its BYE is the end, and ours is not sent."""
    agent = SipAgent(VOICE[:1600], hangs_up=True)
    record = place(agent, (turn("a"), turn("b", pause_ms=3_000)))
    assert record.end is CallEnd.AGENT_CLOSED
    assert "hung up (BYE)" in record.detail
    assert agent.byes == 0


@pytest.mark.parametrize(
    ("status", "hint"), [(486, "busy"), (404, "no such"), (488, "G.711"), (401, "TURNGAP_SIP_USER")]
)
def test_a_refusal_is_one_line_with_its_status(status: int, hint: str) -> None:
    """And what it means."""
    record = place(SipAgent(VOICE, rejects=status))
    assert record.end is CallEnd.REFUSED
    assert str(status) in record.detail
    assert hint in record.detail
    assert "\n" not in record.detail


def test_keys_are_telephone_events() -> None:
    """Three ends of each press (RFC 4733)."""
    agent = SipAgent(VOICE)
    place(agent, utterance=replace(clip(), keys=((400, "5"), (1200, "#"))))
    keys = [payload[0] for kind, payload in agent.packets if kind == 101]
    assert keys == [5, 5, 5, 11, 11, 11]
    # Every packet has the next number, copies too; those of one press have one time, and the first alone is marked.
    numbers = [sequence for sequence, _, _ in agent.heads]
    assert {(after - before) & 0xFFFF for before, after in pairwise(numbers)} == {1}
    heads = [head for (kind, _), head in zip(agent.packets, agent.heads, strict=True) if kind == 101]
    assert [len({time for _, time, _ in press}) for press in (heads[:3], heads[3:])] == [1, 1]
    assert [marker for _, _, marker in heads] == [True, False, False] * 2


def test_nobody_there_is_said_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer to OPTIONS; any answer will do."""
    monkeypatch.setattr(signalling, "PING_TIMEOUT_S", 0.3)

    async def main() -> None:
        with pytest.raises(AgentError, match="does not answer"):
            await signalling.check_answers("sip:agent@127.0.0.1:9")
        async with SipAgent(VOICE).serving() as url:
            await signalling.check_answers(url)

    asyncio.run(main())


def test_a_run_by_sip_needs_its_library_and_no_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, before anything starts."""
    assert plan_run("smoke", url="sip:agent@127.0.0.1").dialect == SIP
    with pytest.raises(UsageError, match="over UDP only"):
        plan_run("smoke", url="sip:agent@127.0.0.1;transport=tls")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "aiosipua", None)
    with pytest.raises(UsageError, match=r"pip install 'turngap\[sip\]'"):
        plan_run("smoke", url="sip:agent@127.0.0.1")
