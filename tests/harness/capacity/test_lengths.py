"""Planned lengths of calls: speech that is known, and the agent's part, corrected by what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from turngap.capacity.lengths import ANSWERED_S, PROBED_S, CallLengths
from turngap.model.records import Clip
from turngap.scenario import PlannedCall, Turn

CLIPS = {name: Clip(name, np.zeros(16_000, np.int16), 0, None, 0, 0, "", synthetic=True) for name in ("a", "b")}


def call(*keys: str, probe: bool = False) -> PlannedCall:
    turns = tuple(Turn.model_validate({"id": key, "say": key, "pause_ms": 500}) for key in keys)
    return PlannedCall(0, turns, probe)


def test_speech_and_pauses_are_known_and_answers_estimated() -> None:
    """A probe call waits for the beginning of its last answer alone."""
    lengths = CallLengths(CLIPS)
    assert lengths.planned_s(call("a", probe=True)) == pytest.approx(2.5 + PROBED_S)
    assert lengths.planned_s(call("a", "b")) == pytest.approx(5.0 + 2 * ANSWERED_S)


def test_the_estimate_is_corrected_by_what_calls_took() -> None:
    """By the 90th percentile, so that few calls last longer than planned; without any it stays."""
    lengths = CallLengths(CLIPS)
    measured = [(call("a", probe=True), 2.5 + seconds) for seconds in np.linspace(0.5, 1.5, 11)]
    corrected = lengths.corrected(measured)
    assert (corrected.probed_s, corrected.answered_s) == (pytest.approx(1.4), ANSWERED_S)
    longer = lengths.corrected([*measured, (call("a", "b", probe=True), 5.0 + 3.0 + 1.4), (call("a"), 2.5 + 3.0)])
    assert (longer.probed_s, longer.answered_s) == (pytest.approx(1.4), pytest.approx(3.0))
    assert lengths.corrected([]) == lengths
    assert lengths.corrected([(call("a"), 0.1)]).answered_s > 0
