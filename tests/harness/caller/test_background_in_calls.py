"""Calls to agents with a background, on a clock of the test's own: when the caller speaks, and what is measured."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from turngap.calibration.voice import make_voice
from turngap.caller.conversation import Conversation
from turngap.caller.playout import Playout
from turngap.clock import NS_PER_MS
from turngap.findings import find_in_call
from turngap.model.finding import FindingKind
from turngap.model.records import CallRecord, Pcm16
from turngap.model.turn import Outcome
from turngap.scenario import PlannedCall
from turngap.scoring.score import score_call

from tests.harness import ambience
from tests.harness.builders import START_NS, Call
from tests.harness.caller.calls import clip, turn

FRAME, FRAME_NS = 160, 20 * NS_PER_MS
TURNS = (turn("a", pause_ms=600), turn("b"))
ARRIVES_NS = 3 * NS_PER_MS
"""After a frame's time."""


@dataclass(frozen=True)
class Held:
    """A call that was held."""

    record: CallRecord
    voices_ns: tuple[int, ...]
    """When each answer's first sample was played."""
    call_s: float
    begins_s: tuple[float, ...]
    """When the caller began each turn."""


def hold_call(bed: Pcm16, *, pauses: bool, after_ms: float = 400) -> Held:
    """Hold two turns with an agent that plays `bed` over and over and answers after that time."""
    playout = Playout()
    clips = {one.key: clip(1500) for one in TURNS}
    talk = Conversation(TURNS, clips, playout, probe=False, started_ns=START_NS, rng=random.Random(1))
    voice, rest = make_voice(8000, 5, -15.0), np.empty(0, np.int16)
    due: list[int] = []
    voices_ns = []
    frame = heard = 0
    while talk.decide(frame):
        assert frame < 3_000, "the call does not end"
        if len(talk.spoken) > heard:
            heard += 1
            due.append(talk.spoken[-1].end_sample + round(after_ms * 8))
        recv_ns = START_NS + (frame + 1) * FRAME_NS + ARRIVES_NS
        if due and frame * FRAME >= due[0]:
            rest, _ = voice, due.pop(0)
            voices_ns.append(max(recv_ns, playout.end_ns))
        sound = bed.take(np.arange(frame * FRAME, frame * FRAME + FRAME), mode="wrap").astype(np.int32)
        if pauses and len(rest):
            sound[:] = 0
        sound[: len(rest[:FRAME])] += rest[:FRAME]
        rest = rest[FRAME:]
        playout.receive(sound.astype(np.int16), recv_ns)
        frame += 1
    ended_ns = START_NS + frame * FRAME_NS
    playout.truncate(ended_ns)
    empty = Call().ends(frame * 20)
    record = replace(empty, spoken=tuple(talk.spoken), received=playout.received, ended_ns=ended_ns)
    return Held(record, tuple(voices_ns), frame * 0.02, tuple(spoken.start_sample / 8000 for spoken in talk.spoken))


@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("dbfs", [-50.0, -40.0, -30.0])
@pytest.mark.parametrize("name", [None, *ambience.AMBIENCES])
def test_the_caller_speaks_on_through_ambience(name: str | None, dbfs: float, pauses: bool) -> None:
    """It waits 2 s in all for steady sound or breath, 8 s once for music, and then as for an agent without any."""
    bed = np.zeros(8000, np.int16) if name is None else ambience.AMBIENCES[name](8_000, dbfs, 1)
    held = hold_call(bed, pauses=pauses)
    waits_s = 8.1 if name == "music" and dbfs > -50 else 2.1 if name else 0.7
    assert held.begins_s[0] < waits_s
    assert held.begins_s[1] - held.begins_s[0] == pytest.approx(3.56, abs=0.6)
    assert held.call_s - held.begins_s[1] < 4.5


@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("dbfs", [-40.0, -30.0])
@pytest.mark.parametrize("name", list(ambience.AMBIENCES))
def test_an_agent_with_a_background_is_measured_by_its_voice(name: str, dbfs: float, pauses: bool) -> None:
    """Within 10 ms of the sample at which its voice was played, in both turns; the background is told, once."""
    held = hold_call(ambience.AMBIENCES[name](8_000, dbfs, 1), pauses=pauses)
    turns = score_call(held.record, (), PlannedCall(0, TURNS, probe=False), network_ms=95, cold=False)
    for one, voice_ns in zip(turns, held.voices_ns, strict=True):
        assert one.outcome is Outcome.ANSWERED
        assert one.t1_ns is not None
        assert abs(one.t1_ns - voice_ns) <= 10 * NS_PER_MS
    found = {finding.kind: finding for finding in find_in_call(held.record, turns)}
    assert found[FindingKind.BACKGROUND].value == pytest.approx(dbfs, abs=8)
    assert set(found) <= {FindingKind.BACKGROUND, FindingKind.NO_MARKS}


@pytest.mark.parametrize("pauses", [False, True])
def test_a_faint_hum_changes_nothing(pauses: bool) -> None:
    """-50 dBFS is under the level that counts: t1 is the voice's first sample, and the hum is told."""
    held = hold_call(ambience.hum(8_000, -50.0), pauses=pauses)
    turns = score_call(held.record, (), PlannedCall(0, TURNS, probe=False), network_ms=95, cold=False)
    assert [one.outcome for one in turns] == [Outcome.ANSWERED, Outcome.ANSWERED]
    assert [one.t1_ns for one in turns] == list(held.voices_ns)
    assert {one.audible_dbfs for one in turns} == {-45.0}
    assert FindingKind.BACKGROUND in {finding.kind for finding in find_in_call(held.record, turns)}


def test_a_background_as_loud_as_the_voice_is_told_and_its_answers_are_not_known() -> None:
    """Noise 3 dB under the voice is audible all the time: no figure is made of it in silence."""
    held = hold_call(ambience.noise(8_000, -18.0), pauses=False)
    turns = score_call(held.record, (), PlannedCall(0, TURNS, probe=False), network_ms=95, cold=False)
    kinds = {finding.kind for finding in find_in_call(held.record, turns)}
    assert FindingKind.LOUD_BACKGROUND in kinds
    assert FindingKind.BACKGROUND not in kinds
