"""How long calls are planned to last: the caller's speech, which is known, and the agent's part, an estimate. Pure.

The estimate is corrected twice: by the warm-up calls before the first load, and by the first load at which the agent
kept up. Then it stays as it is: a load that followed the lengths of slow calls would no longer be an open loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from turngap.model.records import Clip
from turngap.scenario import PlannedCall

SAMPLES_A_SECOND = 8000
ANSWERED_S = 5.0
"""First estimate of an answer that is heard to its end, with the silence after it."""
PROBED_S = 2.5
"""First estimate of an answer of which the first content is awaited."""
LEAST_S = 0.2
"""No estimate is shorter."""
QUANTILE = 0.9
"""Of ten calls, one may last longer than planned: the next call on its line then begins before its end."""


@dataclass(frozen=True, slots=True)
class CallLengths:
    """The planned lengths of calls."""

    clips: Mapping[str, Clip]
    """By `Turn.key`."""
    answered_s: float = ANSWERED_S
    """The agent's part of a turn whose answer is heard to its end."""
    probed_s: float = PROBED_S
    """The agent's part of the last turn of a probe call."""

    def planned_s(self, call: PlannedCall) -> float:
        """Return the planned length of a call."""
        last_s = self.probed_s if call.probe else self.answered_s
        return self.speech_s(call) + self.answered_s * (len(call.turns) - 1) + last_s

    def speech_s(self, call: PlannedCall) -> float:
        """Return how long the caller of a call speaks, with the pauses before the utterances."""
        samples = sum(len(self.clips[turn.key].pcm) for turn in call.turns)
        return samples / SAMPLES_A_SECOND + sum(turn.pause_ms for turn in call.turns) / 1000

    def corrected(self, measured_s: Iterable[tuple[PlannedCall, float]]) -> CallLengths:
        """Return the lengths with the agent's part as in these calls, each with its length; unchanged without any.

        The last turn's part is that of calls with one turn, the other turns' part what longer calls took beyond it.
        """
        known = [(call, length_s - self.speech_s(call)) for call, length_s in measured_s]
        probed = [part_s for call, part_s in known if call.probe and len(call.turns) == 1]
        probed_s = max(LEAST_S, float(np.quantile(probed, QUANTILE))) if probed else self.probed_s
        others = [
            (part_s - (probed_s if call.probe else 0.0)) / (len(call.turns) - call.probe)
            for call, part_s in known
            if len(call.turns) > call.probe
        ]
        answered_s = max(LEAST_S, float(np.quantile(others, QUANTILE))) if others else self.answered_s
        return CallLengths(self.clips, answered_s, probed_s)
