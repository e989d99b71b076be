"""Agents whose answers no caller hears, or half of them: what is said of each, over a real WebSocket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import numpy as np
import pytest
from turngap.calibration.voice import make_voice
from turngap.findings import find_in_call
from turngap.model.finding import FindingKind
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap_agent.telephony import mulaw
from websockets.asyncio.server import ServerConnection

from tests.harness.caller.calls import Agent, FastClock, Json, call, clip, loud, media, turn

VOICE = mulaw.encode(make_voice(8000, 5, -15.0))
TURNS = (turn("a", pause_ms=300), turn("b", answer_within_ms=1_500))


def answering(answer: Callable[[ServerConnection, Json], object]) -> Agent:
    """An agent that does so 200 ms after each utterance."""

    async def handle(socket: ServerConnection, log: list[Json]) -> None:
        spoke, silent = False, 0
        async for text in socket:
            message = json.loads(text)
            log.append(message)
            if message["event"] != "media":
                continue
            is_loud = loud(message)
            spoke, silent = spoke or is_loud, 0 if is_loud else silent + 1
            if spoke and silent == 10:
                spoke = False
                await answer(socket, message)  # type: ignore[misc]  # an async function

    return handle


def measure(agent: Agent, turns: tuple[Turn, ...] = TURNS) -> tuple[CallRecord, list[TurnRecord], set[FindingKind]]:
    """Call the agent once; return the call, its turns as scored, and the kinds of its findings."""
    record, _ = call(agent, turns, clips={one.key: clip(400) for one in turns})
    scored = score_call(record, (), PlannedCall(7, turns, probe=False), network_ms=95, cold=False)
    return record, scored, {finding.kind for finding in find_in_call(record, scored)}


@pytest.mark.parametrize(
    ("encode", "named"),
    [(base64.encodebytes, "it has line breaks"), (base64.urlsafe_b64encode, "it has the URL-safe alphabet")],
)
@pytest.mark.parametrize("size", [800, 8000])
def test_almost_base64_is_named_in_the_call_s_notes(encode: Callable[[bytes], bytes], named: str, size: int) -> None:
    """Of short messages and of long ones, whose payload is cut out before they are parsed; nothing was heard."""

    async def answer(socket: ServerConnection, message: Json) -> None:
        body = {"event": "media", "streamSid": message["streamSid"]}
        await socket.send(json.dumps({**body, "media": {"payload": encode(VOICE[:size]).decode()}}))

    record, turns, _ = measure(answering(answer))
    (warning,) = record.warnings
    assert "`media.payload` is not base64" in warning
    assert named in warning
    assert "31951" in warning
    assert {one.t1_ns for one in turns} == {None}


def test_an_agent_that_answers_by_keys_alone_is_told_to_send_tones() -> None:
    """The platform takes no `dtmf` from an agent: nothing is heard, and the note says what would be."""

    async def answer(socket: ServerConnection, message: Json) -> None:
        await socket.send(json.dumps({"event": "dtmf", "streamSid": message["streamSid"], "dtmf": {"digit": "1"}}))

    record, turns, _ = measure(answering(answer))
    (warning,) = record.warnings
    assert "'dtmf'" in warning
    assert "tones in its audio" in warning
    assert {one.t1_ns for one in turns} == {None}


def test_an_agent_that_restarts_in_mid_call_failed_its_turn() -> None:
    """1012 and nothing more: the first turn keeps its figures, the second says when the agent went, and why."""
    answers = 0

    async def answer(socket: ServerConnection, message: Json) -> None:
        nonlocal answers
        answers += 1
        if answers == 2:
            await socket.close(1012)
            return
        await socket.send(media(message, VOICE))

    record, (first, second), _ = measure(answering(answer))
    assert record.end is CallEnd.AGENT_CLOSED
    assert first.turn_gap_ms is not None
    assert "in turn 'b': code 1012 (service restart)" in record.detail
    assert second.outcome in (Outcome.FAILED, Outcome.INVALID)  # a busy host is late on the fast clock
    assert second.outcome is Outcome.INVALID or record.detail in second.detail


@pytest.mark.parametrize("gap_ms", [150, 400, 1000])
def test_an_answer_in_two_bursts_with_a_gap_is_told(gap_ms: int) -> None:
    """A hole inside a reply is said with its length; after 800 ms the rest is a second answer."""
    clock = FastClock()
    half = len(VOICE) // 2

    async def answer(socket: ServerConnection, message: Json) -> None:
        await socket.send(media(message, VOICE[:half]))
        await clock.sleep_ns((500 + gap_ms) * 1_000_000)
        await socket.send(media(message, VOICE[half:]))

    record, turns, kinds = measure(answering(answer), (turn("a"), turn("b", pause_ms=2_500)))
    assert turns[0].t1_ns == record.received[0].play_ns
    assert np.all([len(message.pcm) == half for message in record.received])
    assert kinds & {FindingKind.STARVED, FindingKind.SPOKE_TWICE}
