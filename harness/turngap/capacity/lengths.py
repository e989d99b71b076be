"""How long calls are planned to last: the caller's speech, which is known, and the agent's part, an estimate. Pure.

The estimate is corrected once, by the first point at which the agent kept up, and stays as it is from then on: a load
that followed the lengths of slow calls would no longer be an open loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from turngap.model.records import Clip
from turngap.scenario import PlannedCall

SAMPLES_A_SECOND = 8000
ANSWERED_S = 4.0
"""First estimate of an answer that is heard to its end, with the silence after it."""
PROBED_S = 1.2
"""First estimate of an answer of which the first content is awaited."""
QUANTILE = 0.9
"""Of ten calls, one may last longer than planned: the next call on its line then begins before its end."""


@dataclass(frozen=True, slots=True)
class CallLengths:
    """The planned lengths of calls."""

    clips: Mapping[str, Clip]
    """By `Turn.key`."""
    stretch: float = 1.0
    """The agent's part, as a multiple of the first estimate."""

    def planned_s(self, call: PlannedCall) -> float:
        """Return the planned length of a call."""
        return self.speech_s(call) + self.stretch * self.answers_s(call)

    def speech_s(self, call: PlannedCall) -> float:
        """Return how long the caller of a call speaks, with the pauses before the utterances."""
        samples = sum(len(self.clips[turn.key].pcm) for turn in call.turns)
        return samples / SAMPLES_A_SECOND + sum(turn.pause_ms for turn in call.turns) / 1000

    def answers_s(self, call: PlannedCall) -> float:
        """Return the first estimate of the agent's part."""
        last_s = PROBED_S if call.probe else ANSWERED_S
        return ANSWERED_S * (len(call.turns) - 1) + last_s

    def corrected(self, measured_s: Iterable[tuple[PlannedCall, float]]) -> CallLengths:
        """Return the lengths with the agent's part as in these calls, each with its length; unchanged without any."""
        parts = [(length_s - self.speech_s(call)) / self.answers_s(call) for call, length_s in measured_s]
        if not parts:
            return self
        return CallLengths(self.clips, max(0.05, float(np.quantile(parts, QUANTILE))))
