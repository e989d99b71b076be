"""How an agent landed that began to speak before its caller had finished: facts of a turn, and of a run.

A cut-off stays a cut-off, whatever the landing. Times are milliseconds.
"""

from __future__ import annotations

from turngap_agent.documents import FrozenModel


class Landing(FrozenModel):
    """What followed a cut-off. None is what audio and spans do not tell."""

    starts: int
    """How often the agent became audible before the caller had finished."""
    heard_ms: float
    """Audible sound of what it said too soon."""
    gave_way_ms: float
    """The caller's next sound → the agent's last audible one before it fell silent; the slowest of several."""
    gap_ms: float | None
    """t0 → the answer that came after the whole utterance; null if none did."""
    lost_words: int | None = None
    """Words of the utterance that are in no transcript of an attempt that was heard."""
    answered_whole: bool | None = None
    """An answer came after the utterance, and its transcript alone lacks no word."""
    soft: bool | None = None
    """It gave way in time, lost no word, and answered the whole."""


class LandingFigures(FrozenModel):
    """The landings of a run's cut-offs."""

    cut_offs: int
    soft: int
    soft_unknown: int
    """Cut-offs of which it is not known whether they landed softly: no transcripts."""
    words_lost: int
    """Cut-offs that lost words ..."""
    words_unknown: int
    """... and those of which it is not known."""
    answered_whole: int
    whole_unknown: int
    heard_p50_ms: float | None
    heard_p95_ms: float | None
    gave_way_p50_ms: float | None
    gave_way_p95_ms: float | None
    gap_p50_ms: float | None
    """Of the cut-offs that were answered after the whole utterance; it is in no other figure."""
    gap_p95_ms: float | None
