"""Sends a reply's audio once the end of the caller's turn is confirmed, and knows what was sent of each clause."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from turngap_agent import tracing
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.call.playback import NS_PER_SAMPLE
from turngap_agent.clock import now_ns
from turngap_agent.telemetry.recorder import AttemptNotes


@dataclass(slots=True)
class _SentClause:
    """The clause whose audio is being sent."""

    index: int
    first_sample: int
    start_ns: int
    end_ns: int


class Delivery:
    """The audio of one reply on its way to the outbound stream: `put` it, and `run` sends it in order."""

    def __init__(self, outbound: OutboundAudio, notes: AttemptNotes) -> None:
        self._outbound, self._notes = outbound, notes
        self.confirmed = asyncio.Event()
        """Whether anything may be sent."""
        self.payload = bytearray()
        """All audio handed to the outbound stream, μ-law."""
        self.first_sent_ns = 0
        """When the first of it was sent; 0 before."""
        self.texts: list[str] = []
        """The clauses."""
        self._samples: list[int] = []
        self._sending: _SentClause | None = None
        self._messages: asyncio.Queue[tuple[str, bytes, int] | None] = asyncio.Queue()
        self._confirmed_ns = self._audible_until_ns = 0

    @property
    def clauses(self) -> list[tuple[str, int]]:
        """The clauses, each with the number of its samples that were sent."""
        return list(zip(self.texts, self._samples, strict=True))

    @property
    def mark_name(self) -> str:
        """The mark after the reply's last audio."""
        return f"turn-{self._notes.turn}-{self._notes.attempt}"

    def confirm(self) -> None:
        """Allow it to be heard: the caller is done."""
        if not self.confirmed.is_set():
            self._confirmed_ns = now_ns()
            self.confirmed.set()

    def add_clause(self, text: str) -> None:
        """Add a clause whose audio will follow."""
        self.texts.append(text)
        self._samples.append(0)

    def put(self, payload: bytes, index: int) -> None:
        """Put the next audio of the clause `index` in the queue, as one message."""
        self._messages.put_nowait((self._outbound.message(payload), payload, index))

    def put_end(self) -> None:
        """Say that all audio was put."""
        self._messages.put_nowait(None)

    async def run(self) -> None:
        """Send what is put until its end, and a mark after it."""
        await self.confirmed.wait()
        while (item := await self._messages.get()) is not None:
            message, payload, index = item
            first, first_sample = not self.payload, len(self.payload)
            if self._sending is not None and self._sending.index != index:
                self.end_clause()
            self.payload += payload
            self._samples[index] += len(payload)
            handed_ns = await self._outbound.play(message, payload)
            self._audible_until_ns = handed_ns + self._outbound.unheard_samples * NS_PER_SAMPLE
            self._sending = self._sending or _SentClause(index, first_sample, handed_ns, handed_ns)
            self._sending.end_ns = handed_ns
            if first:
                self.first_sent_ns = handed_ns
                self._notes.fact(tracing.SENT_NS, handed_ns)
        self.end_clause()
        if self.payload:
            await self._outbound.mark(self.mark_name)

    async def say(self, text: str, payloads: Iterable[bytes]) -> None:
        """Play an announcement after what was sent of the reply; the rest of that is dropped."""
        self.end_clause()
        while self._samples and not self._samples[-1]:  # of these nothing was sent
            del self._samples[-1], self.texts[-1]
        self.add_clause(text)
        self._messages = asyncio.Queue()
        for payload in payloads:
            self.put(payload, len(self.texts) - 1)
        self.put_end()
        await self.run()

    def end_clause(self) -> None:
        """Report the clause that was being sent."""
        clause, self._sending = self._sending, None
        if clause is not None:
            text, samples = self.texts[clause.index], self._samples[clause.index]
            self._notes.clause(text, clause.first_sample, samples, clause.start_ns, clause.end_ns)

    async def wait_for_silence(self, limit_ms: float) -> None:
        """Return once the caller has waited in silence for `limit_ms`: from the confirmed end, or the last audio."""
        await self.confirmed.wait()
        while True:
            now = now_ns()
            if unheard := self._outbound.unheard_samples:
                self._audible_until_ns = now + unheard * NS_PER_SAMPLE
            due_ns = max(self._confirmed_ns, self._audible_until_ns) + round(limit_ms * 1e6)
            if (left_ns := due_ns - now) <= 0:
                return
            await asyncio.sleep(left_ns / 1e9)
