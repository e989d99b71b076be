"""A run compared with its baseline: centre, tail, outcomes and words, each the same, better, worse or ambiguous. Pure.

The budget decides; this is a second gate. docs/definitions.md ("One run against another") has the rules.
"""

from turngap.verdict.comparison.findings import Change, MeasureChange, MedianChange
from turngap.verdict.comparison.medians import LEAST_PAIRS, compare_medians, default_tolerance_ms
from turngap.verdict.comparison.runs import (
    TurnsComparison,
    compare_turns,
    describe_differences,
    describe_too_few,
    make_notes,
)
from turngap.verdict.comparison.stages import LatencyChange

__all__ = [
    "LEAST_PAIRS",
    "Change",
    "LatencyChange",
    "MeasureChange",
    "MedianChange",
    "TurnsComparison",
    "compare_medians",
    "compare_turns",
    "default_tolerance_ms",
    "describe_differences",
    "describe_too_few",
    "make_notes",
]
