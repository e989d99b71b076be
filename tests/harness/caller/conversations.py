"""A conversation with its playout, led forward frame by frame on times that a test makes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from turngap.caller.content_watch import ContentWatch
from turngap.caller.conversation import Conversation
from turngap.caller.playout import Playout
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Clip, Pcm16, Spoken
from turngap.scenario import QUIET_MS, Turn
from turngap.scenario.content import default_openings
from turngap_agent import tracing
from turngap_agent.tracing import AttributeValue, Span

START = 5_000_000_000
FRAME = 20 * NS_PER_MS
CLIP = Clip("clip", np.full(1111, 4000, np.int16), 0, "hello", 0, 0, "test", True)


def sound(ms: float, amplitude: int = 5000) -> Pcm16:
    n = round(ms * 8)
    return np.where(np.arange(n) % 8 < 4, amplitude, -amplitude).astype(np.int16)


class Call:
    """A conversation with its playout, led forward by frames."""

    def __init__(
        self,
        *turns: dict[str, Any],
        probe: bool = False,
        seed: int = 1,
        on_grid: bool = False,
        quiet_ms: int = QUIET_MS,
        spans: list[Span] | None = None,
    ) -> None:
        """With `spans`, perhaps none yet, the caller waits for content."""
        built = tuple(
            Turn.model_validate({"id": f"turn {n}", "say": "hello", "answer_within_ms": 3000, **keys})
            for n, keys in enumerate(turns)
        )
        self.playout = Playout()
        self.talk = Conversation(
            built,
            {turn.key: CLIP for turn in built},
            self.playout,
            probe=probe,
            started_ns=START,
            rng=random.Random(seed),
            on_grid=on_grid,
            quiet_ms=quiet_ms,
            content=None if spans is None else ContentWatch(self.playout, default_openings(), lambda: spans),
        )
        self.frame = 0
        self.line: list[Pcm16] = []
        self.over_ns: int | None = None

    @property
    def now_ns(self) -> int:
        return START + (self.frame + 1) * FRAME

    def lead(self, ms: float) -> None:
        """Let that much time pass, or less if the caller hangs up."""
        until = self.now_ns + ms * NS_PER_MS
        while self.now_ns < until and self.over_ns is None:
            if self.talk.decide(self.frame):
                self.line.append(self.talk.mix_voice(np.zeros(160, np.int16), self.frame))
                self.frame += 1
            else:
                self.over_ns = self.now_ns

    def hear(self, pcm: Pcm16) -> None:
        self.playout.receive(pcm, self.now_ns)

    def clause(self, text: str, ms: float, *, first_ms: float = 0) -> Span:
        """The span of a clause whose first message is sent now."""
        attributes: dict[str, AttributeValue] = {
            tracing.CLAUSE_TEXT: text,
            tracing.CLAUSE_FIRST_SAMPLE: round(first_ms * 8),
            tracing.CLAUSE_SAMPLES: round(ms * 8),
        }
        return Span(tracing.CLAUSE_SPAN, self.now_ns, self.now_ns, "CA1", 0, 1, attributes)

    def time_ns(self, sample: int) -> int:
        return START + sample * NS_PER_SAMPLE

    @property
    def last(self) -> Spoken:
        return self.talk.spoken[-1]
