"""A voice detector's second opinion on replies: where it disagrees with the level, that is said. Pure.

The onset of a reply is where its level rises over the agent's floor: exact to the sample, and blind to what the sound
is. A voice detector knows a voice from a tone, music or breath, in steps of 32 ms, and starts late in soft consonants.
So it is asked about replies only, never about the end of the caller's speech, and moves no figure.
"""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.finding import Finding, FindingKind

LATE_MS = 350.0
"""On recorded prompts, also over noise or music, the detector is 331 ms behind the level at most
(`benchmarks/voice_detector.py`)."""
SHORTEST_MS = 200.0
"""A shorter reply is not judged: a detector needs that much to be sure of a voice."""
LEAST_VOICE_MS = 60.0


def judge_onset(reply_ms: float, voice: Sequence[tuple[float, float]]) -> Finding | None:
    """Return how the detector disagrees with a reply that counts from its first sound; None if it does not.

    Args:
        reply_ms: How long the reply was heard.
        voice: From when to when, ms from the reply's onset, the detector finds a voice, in time order.
    """
    if reply_ms < SHORTEST_MS:
        return None
    begins_ms = next((start_ms for start_ms, end_ms in voice if end_ms - max(0.0, start_ms) >= LEAST_VOICE_MS), None)
    if begins_ms is None:
        return Finding(kind=FindingKind.NO_VOICE, count=1)
    if begins_ms > LATE_MS:
        return Finding(kind=FindingKind.LATE_VOICE, count=1, value=round(begins_ms, 1))
    return None
