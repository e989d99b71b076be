"""Agents that misbehave, called over a real WebSocket and scored: what is found in each, and what is measured."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from turngap.clock import NS_PER_SAMPLE
from turngap.findings import find_in_call, summarise_findings
from turngap.findings.timing import find_timing_faults
from turngap.model.finding import Finding, FindingKind
from turngap.model.records import CallEnd, CallRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap_agent.telephony import mulaw

from tests.harness import ambience
from tests.harness.builders import Call
from tests.harness.caller.calls import call, clip, turn
from tests.harness.findings.voices import talk
from tests.harness.session import misbehaving
from tests.harness.session.filler_agents import beep
from tests.harness.session.misbehaving import VOICE, Misbehaving, joined, riff_header

SILENCE = np.zeros(4800, np.int16)
"""600 ms."""
KINDS = FindingKind
Result = tuple[CallRecord, list[TurnRecord], dict[FindingKind, Finding]]


def measure(agent: Misbehaving, turns: tuple[Turn, ...] = (turn(),), clip_ms: int = 400) -> Result:
    """Call the agent once; return the call, its turns, and what was found by its kind."""
    clips = {one.key: clip(clip_ms) for one in turns}
    record, _ = call(agent.handle, turns, clips=clips)
    scored = score_call(record, (), PlannedCall(7, turns, probe=False), network_ms=95, cold=False)
    return record, scored, {finding.kind: finding for finding in find_in_call(record, scored)}


def without_lateness(found: dict[FindingKind, Finding]) -> set[FindingKind]:
    """The kinds but for holes in playout: on a busy host the tests' fast clock makes some itself."""
    return set(found) - {KINDS.STARVED, KINDS.DRIPPED}


def test_nothing_is_found_in_an_agent_that_does_it_right() -> None:
    """A voice in μ-law, all at once, then a mark."""
    _, (first, second), found = measure(Misbehaving(), (turn("a"), turn("b")))
    assert without_lateness(found) == set()
    assert {first.audible_dbfs, second.audible_dbfs} == {-45.0}


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        (Misbehaving(encode=misbehaving.encode_linear), KINDS.LINEAR_PCM),
        (Misbehaving(encode=misbehaving.encode_linear, piece=320, every_ms=20), KINDS.LINEAR_PCM),
        (Misbehaving(encode=misbehaving.encode_linear_swapped), KINDS.LINEAR_PCM_SWAPPED),
        (Misbehaving(voice=talk(8_000, 120.0, 1.0), encode=misbehaving.encode_alaw), KINDS.ALAW),
        (Misbehaving(encode=lambda pcm: base64.b64encode(mulaw.encode(pcm))), KINDS.BASE64_TWICE),
        (Misbehaving(encode=lambda pcm: mulaw.encode(np.repeat(pcm, 2))), KINDS.DOUBLED_SAMPLES),
        (Misbehaving(encode=lambda pcm: b"OggS" + mulaw.encode(pcm)), KINDS.COMPRESSED),
        (Misbehaving(voice=np.clip(VOICE.astype(np.int32) * 12, -32_700, 32_700).astype(np.int16)), KINDS.CLIPPED),
        (Misbehaving(voice=(VOICE // 2 + 900).astype(np.int16)), KINDS.DC_OFFSET),
        (Misbehaving(encode=lambda pcm: b"\0" * 800 + mulaw.encode(pcm)), KINDS.WRONG_SILENCE),
        (Misbehaving(voice=joined(SILENCE, VOICE)), KINDS.SILENT_HEAD),
        (Misbehaving(voice=joined(beep(120), SILENCE, VOICE)), KINDS.BEEP),
        (Misbehaving(marks=0), KINDS.NO_MARKS),
        (Misbehaving(marks=2_000), KINDS.FLOOD),
        (Misbehaving(again_ms=300), KINDS.SPOKE_TWICE),
        (Misbehaving(piece=1600, every_ms=400), KINDS.STARVED),
        (Misbehaving(piece=160, every_ms=28), KINDS.DRIPPED),
    ],
)
def test_each_fault_is_found_alone(agent: Misbehaving, kind: FindingKind) -> None:
    """One kind a fault, said once, with a remedy; the turn keeps its outcome."""
    _, turns, found = measure(
        agent, (turn(pause_ms=100), turn("b", pause_ms=1500)) if kind is KINDS.SPOKE_TWICE else (turn(),)
    )
    assert kind in found
    assert without_lateness(found) <= {kind}
    (said,) = summarise_findings([turns[0].model_copy(update={"findings": (found[kind],)})])
    assert said.text
    assert said.remedy
    assert "{" not in said.text


def test_a_header_is_found_and_is_no_onset() -> None:
    """44 bytes before the first message, or before each: counted; t1 is the voice's first sample."""
    silent = joined(np.zeros(160, np.int16), VOICE)
    for each in (False, True):
        agent = Misbehaving(voice=silent, head=riff_header(8000), head_each=each, piece=2000)
        record, (one,), found = measure(agent)
        assert found[KINDS.FILE_HEADER].count == (5 if each else 1)
        message = record.received[0]
        assert one.t1_ns == message.play_ns + (44 + 160) * NS_PER_SAMPLE


def test_a_socket_closed_before_its_audio_could_play() -> None:
    """The call failed, and what is missing is said in ms."""
    record, (one,), found = measure(Misbehaving(closes=True))
    assert record.end is CallEnd.AGENT_CLOSED
    assert one.outcome is Outcome.FAILED
    assert found[KINDS.CLOSED_EARLY].value > 500


def test_more_audio_than_the_buffer_holds() -> None:
    """Eleven minutes in messages of 70 s: the last ones are lost, and all are huge."""
    heard = Call().utter(1000, 2010)
    for _ in range(10):
        heard.hear(2410, np.tile(VOICE, 70))
    found = {one.kind: one for one in find_timing_faults(heard.ends(20_000), ())}
    assert found[KINDS.OVERFLOWED].value == 140
    assert found[KINDS.OVERFLOWED].count == 2
    assert KINDS.HUGE_MESSAGE in found


BARGE_IN = (turn("a"), turn("b", agent="stop", over_agent_ms=300, pause_ms=0))
LONG_VOICE = np.concatenate([VOICE, VOICE[::-1], VOICE])


def test_a_barge_in_without_a_clear() -> None:
    """The rest of the old reply is told in ms."""
    _, turns, found = measure(Misbehaving(voice=LONG_VOICE), BARGE_IN, clip_ms=900)
    assert turns[1].over_agent
    assert found[KINDS.NO_CLEAR].value > 1_000
    assert KINDS.SENT_AFTER_CLEAR not in found


def test_old_audio_after_a_clear() -> None:
    """200 ms of the old voice after the `clear` are stale."""
    _, turns, found = measure(Misbehaving(voice=LONG_VOICE, clears=True, after_clear_ms=200), BARGE_IN, clip_ms=900)
    assert turns[1].over_agent
    assert KINDS.NO_CLEAR not in found
    assert found[KINDS.SENT_AFTER_CLEAR].value == pytest.approx(200, abs=15)
    _, turns, found = measure(Misbehaving(voice=LONG_VOICE, clears=True), BARGE_IN, clip_ms=900)
    assert turns[1].over_agent
    assert not {KINDS.NO_CLEAR, KINDS.SENT_AFTER_CLEAR} & set(found)


def test_an_agent_with_a_background_is_measured_by_its_voice() -> None:
    """Hum of -30 dBFS over a socket: within 10 ms of the sample at which the voice began; the background is told.

    Other backgrounds, and how long the caller waits, are tested on a clock of the test's own, in
    `tests/harness/caller/test_background_in_calls.py`: a busy host makes holes in what this agent plays.
    """
    agent = Misbehaving(background=ambience.hum(8_000, -30.0))
    record, (one,), found = measure(agent, (turn("a", pause_ms=600),), clip_ms=1500)
    assert found[KINDS.BACKGROUND].value == pytest.approx(-30, abs=4)
    plays_ns = [message.play_ns for message in record.received]
    assert one.t1_ns is not None
    assert abs(one.t1_ns - plays_ns[agent.begins[0] // misbehaving.FRAME]) <= 10_000_000


def test_a_faint_background_changes_nothing_and_is_told() -> None:
    """-50 dBFS is under the level that counts."""
    agent = Misbehaving(background=ambience.hum(8_000, -50.0))
    _, turns, found = measure(agent, (turn("a", pause_ms=1500),), clip_ms=1500)
    assert turns[0].audible_dbfs == -45.0
    assert turns[0].t1_ns is not None
    assert found[KINDS.BACKGROUND].value == pytest.approx(-50, abs=4)
