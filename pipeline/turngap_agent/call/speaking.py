"""Speaks a reply's clauses as they come: synthesis, then encoding, with each message left to the delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

from turngap_agent import tracing
from turngap_agent.call import Agent
from turngap_agent.call.checks import ClauseAudio, is_empty
from turngap_agent.call.delivery import Delivery
from turngap_agent.call.encoding import ReplyEncoder
from turngap_agent.clock import now_ns
from turngap_agent.deadlines import Guard, StreamLimits
from turngap_agent.stt import AudioF32
from turngap_agent.telemetry.recorder import AttemptNotes
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.tracing import Stage
from turngap_agent.tts import ContextUtterance


class Speaking:
    """The clauses of one reply on their way to the synthesiser: `add` them, and `run` speaks them in order."""

    def __init__(
        self,
        agent: Agent,
        guard: Guard,
        context: tuple[ContextUtterance, ...],
        notes: AttemptNotes,
        delivery: Delivery,
    ) -> None:
        self._engines, self._deadlines = agent.engines, agent.profile.deadlines
        self._injection, self._guard = agent.injection, guard
        self._context, self._notes, self._delivery = context, notes, delivery
        self._clauses: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
        self.n_spoken = 0
        """Clauses whose audio is complete."""

    def add(self, clause: str, handed_ns: int) -> None:
        """Add a clause that was ready at `handed_ns`."""
        self._delivery.add_clause(clause)
        self._clauses.put_nowait((clause, handed_ns))

    def add_end(self) -> None:
        """Say that there are no more clauses."""
        self._clauses.put_nowait(None)

    def _ask(self, clause: str) -> AsyncIterator[AudioF32]:
        return self._engines.tts.speak(clause, self._context)  # looked up when it is asked: it may have been replaced

    async def run(self, start_of: Callable[[str, int], Awaitable[int]]) -> None:
        """Speak what is added until its end.

        `start_of` returns when "synthesis" starts, of a clause that was ready at a time, ns; it waits until then.

        Raises:
            StageError: the synthesiser failed.
        """
        tts, d = self._engines.tts, self._deadlines
        limits = StreamLimits(d.tts_first_audio_ms, "tts_first_audio_ms", d.tts_audio_ms, "tts_audio_ms")
        lead_in_samples = self._injection.delay_ns(Stage.LEAD_IN) * SAMPLE_RATE // 1_000_000_000
        encoder = ReplyEncoder(tts.sample_rate, lead_in_samples)
        first_pcm_ns = index = messages = 0
        while (handed := await self._clauses.get()) is not None:
            text, handed_ns = handed
            started_ns = now_ns()
            if index == 0:
                handed_ns = await start_of("synthesis", handed_ns)
                await self._injection.wait(Stage.FIRST_AUDIO)
            speech = self._guard.stream(
                "tts", limits, partial(self._ask, text), ClauseAudio(text, tts.sample_rate), is_empty
            )
            async with aclosing(speech) as pieces:
                async for piece in pieces:
                    if not first_pcm_ns and len(piece):
                        first_pcm_ns = now_ns()
                        self._notes.stage(Stage.FIRST_AUDIO, handed_ns, first_pcm_ns)
                        await self._injection.wait(Stage.ENCODING)
                    for payload in encoder.push(piece):
                        self._delivery.put(payload, index)
                        messages += 1
                        if messages == 1:
                            self._notes.stage(Stage.ENCODING, first_pcm_ns, now_ns())
                        await asyncio.sleep(0)  # let it leave, and other calls run, before the next is encoded
            for payload in encoder.flush():
                self._delivery.put(payload, index)
            if index:
                self._notes.detail(tracing.SYNTHESIS_SPAN, started_ns, now_ns())
            index += 1
            self.n_spoken = index
        self._delivery.put_end()
