"""A voice detector's opinion on a reply: where it agrees nothing is said."""

from __future__ import annotations

import pytest
from turngap.findings import summarise_findings
from turngap.findings.voice_opinion import LATE_MS, judge_onset
from turngap.model.finding import FindingKind

from tests.harness import report_builders


@pytest.mark.parametrize("voice", [[(22.0, 900.0)], [(-40.0, 300.0)], [(-200.0, 90.0)], [(LATE_MS, 900.0)]])
def test_a_voice_near_the_onset_agrees(voice: list[tuple[float, float]]) -> None:
    """The detector is some windows early or late."""
    assert judge_onset(1000.0, voice) is None


def test_a_voice_after_other_sound_is_told_by_its_delay() -> None:
    """A tone of 120 ms and a silence of 600; a flicker of the detector is no voice."""
    for voice in ([(742.0, 1500.0)], [(10.0, 40.0), (742.0, 1500.0)], [(-300.0, 20.0), (742.0, 1500.0)]):
        finding = judge_onset(1500.0, voice)
        assert finding is not None
        assert (finding.kind, finding.value) == (FindingKind.LATE_VOICE, 742.0)


def test_a_reply_without_a_voice_is_told() -> None:
    """Unless it is too short to be judged."""
    finding = judge_onset(1000.0, [])
    assert finding is not None
    assert finding.kind is FindingKind.NO_VOICE
    assert judge_onset(150.0, []) is None


def test_replies_and_calls_are_counted() -> None:
    """A call may have such a finding in each of its turns."""
    finding = judge_onset(1000.0, [])
    assert finding is not None
    turns = [
        turn.model_copy(update={"call": place // 2, "turn": place % 2, "findings": (finding,)})
        for place, turn in enumerate(report_builders.turns(4))
    ]
    (said,) = summarise_findings(turns)
    assert (said.count, said.calls) == (4, 2)
    assert "no voice in 4 replies" in said.text
