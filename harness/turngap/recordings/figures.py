"""The figures of a run from recordings: those of any run, without what two channels of sound can't say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turngap.model.figures import ConversationFigures, Rate
from turngap.model.turn import TurnRecord
from turngap.verdict import stats, summary

SHARES = ("cut_off_rate", "pause_cut_off_rate", "missed_rate", "talked_over_rate")
"""The rates that are known. A backchannel that stops an agent is not told from an interruption, a silence inside a
reply not from playout that ran dry, and what was understood is not heard: their rates would always be 0."""


def compute_recorded_figures(turns: Sequence[TurnRecord]) -> dict[str, Any]:
    """Return the fields of `RunRecord` that are computed from turns."""
    figures = summary.compute_figures(turns)
    talk: ConversationFigures = figures["conversation"]
    unknown = Rate(events=0, n=0, rate=None, upper=None)
    nothing = stats.latency_figures([])
    return figures | {
        "conversation": talk.model_copy(
            update={"rates": {name: talk.rates[name] for name in SHARES}, "stale_ms": nothing}
        ),
        "underrun_rate": unknown,
        "turn_gap_frame_ms": nothing,
        "first_byte_ms": nothing,
    }
