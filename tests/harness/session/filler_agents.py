"""Agents that make a sound at once and answer later, with real words, over a real WebSocket."""

from __future__ import annotations

import asyncio
import json
from functools import cache

import numpy as np
import pytest
from scipy import signal
from turngap.model.records import Pcm16
from turngap_agent import say, tracing
from turngap_agent.clock import now_ns
from turngap_agent.errors import EngineError
from turngap_agent.telephony import mulaw
from turngap_agent.tracing import Span
from websockets.asyncio.server import ServerConnection

from tests.harness.caller.calls import SPEED, Agent, Json, loud, media

RATE = 8000
CONTENT = "The office is open until nine."


@cache
def speak(text: str) -> Pcm16:
    """Return the synthetic voice's words, without silence around them; shape (n,)."""
    pytest.importorskip("hibari")
    try:
        rate, audio = asyncio.run(say._synthesise(text))
    except EngineError as error:
        pytest.skip(str(error))
    narrow = signal.resample_poly(audio, RATE, rate)
    pcm = np.rint(np.clip(narrow, -1, 1) * 26_000).astype(np.int16)
    audible = np.flatnonzero(np.abs(pcm.astype(int)) > 400)
    return pcm[audible[0] : audible[-1] + 1]


def beep(ms: float) -> Pcm16:
    """Return a tone of 1 kHz at -12 dBFS, shape (ms * 8,)."""
    return np.rint(11_600 * np.sin(2 * np.pi * 1000 * np.arange(round(ms * 8)) / RATE)).astype(np.int16)


def murmur(ms: float) -> Pcm16:
    """Return noise with the rhythm of syllables, shape (ms * 8,): it stands for speech where nobody recognises it."""
    at = np.arange(round(ms * 8)) / RATE
    noise = np.random.default_rng(3).normal(0, 5_000, len(at))
    return np.clip(noise * (0.6 + 0.4 * np.sin(2 * np.pi * 5 * at)), -30_000, 30_000).astype(np.int16)


def filler_agent(
    filler: Pcm16, filler_text: str, later_ms: float, spans: list[Span] | None = None, content: Pcm16 | None = None
) -> Agent:
    """Return an agent that sends `filler` 200 ms after the caller, and the content `later_ms` after that.

    With `spans` it reports its clauses; a filler without a text belongs to none. `content` is by default spoken.
    """
    content = speak(CONTENT) if content is None else content

    async def handle(socket: ServerConnection, log: list[Json]) -> None:
        spoke, silent, sid = False, 0, ""
        replies: list[asyncio.Task[None]] = []

        async def reply(message: Json) -> None:
            sent_ns = _clock_ns()
            if len(filler):
                await socket.send(media(message, mulaw.encode(filler)))
                await asyncio.sleep((len(filler) / 8 + later_ms) / 1000 / SPEED)
            report(filler_text, 0, len(filler), sent_ns)
            at_ns = _clock_ns()
            await socket.send(media(message, mulaw.encode(content)))
            report(CONTENT, len(filler), len(content), at_ns)
            await socket.send(json.dumps({"event": "mark", "streamSid": message["streamSid"], "mark": {"name": "end"}}))
            if spans is not None:
                facts: dict[str, tracing.AttributeValue] = {tracing.HEARD: True, tracing.SENT_NS: sent_ns}
                facts |= {tracing.CONFIRMED_NS: sent_ns, tracing.SPANS: 1 + len(spans)}
                spans.append(Span(tracing.TURN_SPAN, sent_ns, at_ns, sid, 0, 1, facts))
                spans.append(Span(tracing.CALL_SPAN, sent_ns, at_ns, sid, -1, -1, {tracing.ATTEMPTS: 1}))

        def report(text: str, first: int, samples: int, at_ns: int) -> None:
            if spans is None or not text or not samples:
                return
            facts: dict[str, tracing.AttributeValue] = {
                tracing.CLAUSE_TEXT: text,
                tracing.CLAUSE_FIRST_SAMPLE: first,
                tracing.CLAUSE_SAMPLES: samples,
            }
            spans.append(Span(tracing.CLAUSE_SPAN, at_ns, at_ns, sid, 0, 1, facts))

        async for text in socket:
            message = json.loads(text)
            if message["event"] == "start":
                sid = message["start"]["callSid"]
            if message["event"] == "media":
                is_loud = loud(message)
                spoke, silent = spoke or is_loud, 0 if is_loud else silent + 1
                if spoke and silent == 10:
                    spoke = False
                    replies.append(asyncio.create_task(reply(message)))

    return handle


def _clock_ns() -> int:
    """Read the clock of the tests' callers, which is ten times as fast as the host's."""
    return now_ns() * SPEED
