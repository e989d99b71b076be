"""When the apology comes, on a clock that only moves when nothing is left to do: it is part of the test, not measured.

A whole call with engines that hang. What is asserted is the distance of the apology's first audio from the deadline
that was missed, and the silence before it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from turngap_agent import clock, loading, profile, tracing
from turngap_agent.call import Agent
from turngap_agent.call.announcements import make_announcements
from turngap_agent.call.call import Call
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.inject import Injection
from turngap_agent.replacements import Replacements
from turngap_agent.telemetry.metrics import LoopLag, Metrics
from turngap_agent.telephony import FRAME_SAMPLES, SAMPLE_RATE, mulaw
from turngap_agent.telephony.messages import InboundMedia, OutboundMedia
from turngap_agent.telephony.parsing import parse_outbound

from tests.pipeline.call.test_faults import Hearing, Speaking, Thinking
from tests.pipeline.conftest import Traces

PROMISED_S = 1.5
"""How late after the deadline the apology may begin."""
SPOKEN_S, CALL_S = 1.0, 12.0


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while there is work, and jumps to the next timer when there is none."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now_s


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self._loop.now_s += timeout
        return ready


@pytest.fixture
def jumping_loop(monkeypatch: pytest.MonkeyPatch) -> JumpingLoop:
    """The loop, with the agent's clock on its time."""
    loop = JumpingLoop()
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter_ns=lambda: round(loop.now_s * 1e9)))
    monkeypatch.setattr(clock, "_SPIN_NS", 0)
    return loop


class Sent:
    """What the agent sends, with the time."""

    def __init__(self, loop: JumpingLoop) -> None:
        self.audio: list[tuple[float, bytes]] = []
        self._loop = loop

    async def send(self, text: str) -> None:
        if isinstance(message := parse_outbound(text), OutboundMedia):
            self.audio.append((self._loop.now_s, message.payload))

    def audible_until(self, message: int) -> float:
        """When the audio before that message has played."""
        end_s = 0.0
        for sent_s, payload in self.audio[:message]:
            end_s = max(end_s, sent_s) + len(payload) / SAMPLE_RATE
        return end_s


async def place_call(
    loop: JumpingLoop,
    overrides: tuple[str, ...],
    engines: dict[str, Any],
    spoken_s: tuple[tuple[float, float], ...] = ((0, SPOKEN_S),),
) -> tuple[Sent, Agent]:
    """A caller speaks at these times, and waits; what the agent sent."""
    chosen = profile.load("scripted", ("llm.first_token_ms=0", "llm.token_ms=0", "tts.first_audio_ms=0", *overrides))
    loaded = await loading.load(chosen)
    announcements = await make_announcements(chosen, loaded.tts)
    loaded, metrics, sent = replace(loaded, **engines), Metrics(LoopLag(), lambda: 0, lambda: 0), Sent(loop)
    overseer = Replacements(chosen, loaded, metrics)
    agent = Agent(chosen, loaded, Injection.parse(()), metrics, Traces(), False, announcements, overseer)
    call = Call(agent, OutboundAudio("MZ1", sent.send, chosen.barge_in), "CA1")
    running = asyncio.create_task(call.run())
    tone = mulaw.encode((8000 * np.sin(np.arange(FRAME_SAMPLES) * 0.3)).astype(np.int16))
    frame_s = FRAME_SAMPLES / SAMPLE_RATE
    for chunk in range(1, round(CALL_S / frame_s)):
        speaks = any(start_s <= chunk * frame_s < end_s for start_s, end_s in spoken_s)
        payload = tone if speaks else mulaw.SILENCE * FRAME_SAMPLES
        call.hear(InboundMedia("MZ1", chunk + 1, chunk, 20 * chunk, payload), clock.now_ns())
        await asyncio.sleep(frame_s)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await call.close()
    await overseer.close()
    return sent, agent


def hang(asked_s: list[float], loop: JumpingLoop) -> Callable[[], Any]:
    """Note the time, and wait for ever."""

    async def work() -> None:
        asked_s.append(loop.now_s)
        await asyncio.Event().wait()

    return work


@pytest.mark.parametrize(
    ("stage", "make", "key", "before"),
    [
        ("stt", lambda fault: Hearing(fault), "stt_ms", 0),
        ("llm", lambda fault: Thinking(fault), "llm_first_token_ms", 0),
        ("llm", lambda fault: Thinking(fault, words="Certainly, I can help you, and then "), "llm_token_ms", 1),
        ("tts", lambda fault: Speaking(fault), "tts_first_audio_ms", 0),
        ("tts", lambda fault: Speaking(fault, pieces=2), "tts_audio_ms", 1),
        ("stt", lambda fault: Hearing(fault), "silence_ms", 0),
    ],
)
def test_the_apology_comes_within_a_second_and_a_half_of_the_deadline(jumping_loop, stage, make, key, before):
    """With the deadlines of the profile, and whatever was heard before it; the caller waits for less than 5 s."""
    asked_s: list[float] = []
    overrides = ("deadlines.stt_ms=60000",) if key == "silence_ms" else ()
    engines = {stage: make(hang(asked_s, jumping_loop))}
    sent, agent = jumping_loop.run_until_complete(place_call(jumping_loop, overrides, engines))
    jumping_loop.close()
    apology = b"".join(agent.announcements["apology"])
    assert b"".join(payload for _, payload in sent.audio).endswith(apology)
    first = len(sent.audio) - len(agent.announcements["apology"])
    assert (first > 0) == bool(before)
    limit_s = getattr(agent.profile.deadlines, key) / 1000
    (turn,) = agent.exporter.turns
    began_s = asked_s[0] if key != "silence_ms" else turn.attributes[tracing.CONFIRMED_NS] / 1e9
    apology_s = sent.audio[first][0]
    assert limit_s <= round(apology_s - began_s, 6) <= limit_s + PROMISED_S
    assert apology_s - (sent.audible_until(first) or SPOKEN_S) < 5
