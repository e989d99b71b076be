"""Agents that misbehave, called over a real WebSocket and scored: what is found in each, and what is measured."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from turngap.calibration.voice import make_voice
from turngap.caller.dialects.twilio import TwilioDialect
from turngap.clock import NS_PER_SAMPLE
from turngap.findings import find_in_call, summarise_findings, timing
from turngap.model.finding import SPOILS_SOUND, Finding, FindingKind
from turngap.model.records import CallEnd, CallRecord, Pcm16
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap_agent.telephony import mulaw

from tests.harness import ambience
from tests.harness.caller.calls import call, clip, turn
from tests.harness.findings.voices import talk
from tests.harness.session import misbehaving
from tests.harness.session.filler_agents import beep
from tests.harness.session.misbehaving import VOICE, Misbehaving, joined, riff_header

LONG_VOICE = np.concatenate([VOICE, VOICE[::-1], VOICE])
TALK = talk(8_000, 120.0, 1.0)
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
        (Misbehaving(encode=misbehaving.encode_float), KINDS.FLOAT_PCM),
        (Misbehaving(voice=TALK, encode=misbehaving.encode_unsigned), KINDS.LINEAR_8BIT),
        (Misbehaving(voice=TALK, encode=misbehaving.encode_signed), KINDS.LINEAR_8BIT),
        (Misbehaving(encode=misbehaving.encode_two_channels), KINDS.SECOND_CHANNEL),
        (Misbehaving(encode=misbehaving.encode_compressed), KINDS.COMPRESSED),
        (Misbehaving(piece=320, repeats=True), KINDS.REPEATED),
        (Misbehaving(encode=misbehaving.encode_padded, piece=160), KINDS.PADDED),
        (Misbehaving(voice=talk(16_000, 210.0, 2.0)), KINDS.SLOW),
        (Misbehaving(voice=talk(24_000, 160.0, 2.0)), KINDS.SLOW),
        (Misbehaving(voice=np.zeros(8000, np.int16)), KINDS.SILENT),
        (Misbehaving(voice=make_voice(8000, 5, -52.0)), KINDS.FAINT),
        (Misbehaving(voice=LONG_VOICE, takes_back_ms=1_700), KINDS.CLEARED_OWN),
        (Misbehaving(encode=lambda pcm: b"OggS" + mulaw.encode(pcm)), KINDS.COMPRESSED),
        (Misbehaving(voice=np.clip(VOICE.astype(np.int32) * 12, -32_700, 32_700).astype(np.int16)), KINDS.CLIPPED),
        (Misbehaving(voice=(VOICE // 2 + 900).astype(np.int16)), KINDS.DC_OFFSET),
        (Misbehaving(encode=lambda pcm: b"\0" * 800 + mulaw.encode(pcm)), KINDS.WRONG_SILENCE),
        (Misbehaving(voice=joined(SILENCE, VOICE)), KINDS.SILENT_HEAD),
        (Misbehaving(voice=joined(beep(120), SILENCE, VOICE)), KINDS.BEEP),
        (Misbehaving(marks=0), KINDS.NO_MARKS),
        (Misbehaving(marks=2_000), KINDS.FLOOD),
        (Misbehaving(voice=np.tile(VOICE, 61), piece=61 * 8000), KINDS.HUGE_MESSAGE),
        (Misbehaving(again_ms=300), KINDS.SPOKE_TWICE),
        (Misbehaving(piece=1600, every_ms=400), KINDS.STARVED),
        (Misbehaving(piece=160, every_ms=28), KINDS.DRIPPED),
    ],
)
def test_each_fault_is_found_alone(agent: Misbehaving, kind: FindingKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind a fault, said once, with a remedy; the turn keeps its outcome."""
    monkeypatch.setattr(timing, "FLOOD_MARKS", 50)  # in a second of the fast clock a busy host reads few
    _, turns, found = measure(
        agent, (turn(pause_ms=100), turn("b", pause_ms=1500)) if kind is KINDS.SPOKE_TWICE else (turn(),)
    )
    assert kind in found
    assert without_lateness(found) <= {kind}
    (said,) = summarise_findings([turns[0].model_copy(update={"findings": (found[kind],)})])
    assert said.text
    assert said.remedy
    assert "{" not in said.text


def test_an_agent_that_drips_is_broken() -> None:
    """20 ms every 28 ms: the holes of the reply are told, and the turn is none of the good ones."""
    _, (one,), found = measure(Misbehaving(piece=160, every_ms=28))
    assert KINDS.DRIPPED in found
    assert sum(one.underruns_ms) > 100
    assert one.outcome in (Outcome.BROKEN, Outcome.INVALID)  # a busy host is late on the fast clock


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


def test_more_audio_than_the_buffer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer of 5 s, and four messages of 2 s: the last two are lost, and whose buffer it was is said."""
    monkeypatch.setattr(TwilioDialect, "max_buffered_ns", 5_000_000_000)
    record, turns, found = measure(Misbehaving(voice=joined(*[VOICE] * 8), piece=16_000))
    assert (found[KINDS.OVERFLOWED].value, found[KINDS.OVERFLOWED].count) == (4, 2)
    assert without_lateness(found) <= {KINDS.OVERFLOWED, KINDS.SPOKE_TWICE}
    (said,) = summarise_findings([turns[0].model_copy(update={"findings": (found[KINDS.OVERFLOWED],)})])
    assert said.text == "4 s of audio were lost in 1 call: Twilio's buffer holds 5 s"
    assert any("31931" in warning for warning in record.warnings)


@pytest.mark.parametrize("voice", [VOICE // 2, VOICE // 4, joined(SILENCE[:800], VOICE)])
def test_a_quiet_voice_and_a_short_silence_before_it_are_no_faults(voice: Pcm16) -> None:
    """Half and a quarter of the usual level; silence of either byte that μ-law has for zero."""

    def encode(pcm: Pcm16) -> bytes:
        data = np.frombuffer(mulaw.encode(pcm), np.uint8).copy()
        zeros = np.flatnonzero(data == 0xFF)
        data[zeros[::2]] = 0x7F
        return data.tobytes()

    _, (one,), found = measure(Misbehaving(voice=voice, encode=encode))
    assert without_lateness(found) <= {KINDS.SILENT_HEAD}
    assert one.outcome in (Outcome.ANSWERED, Outcome.INVALID, Outcome.BROKEN)  # a busy host is late on the fast clock
    assert one.turn_gap_ms is not None


def test_an_agent_that_sends_the_callers_voice_back() -> None:
    """It is told with its delay, and spoils the sound: no budget is passed with it."""
    _, _, found = measure(Misbehaving(echoes=True, marks=0), (turn(answer_within_ms=800),), clip_ms=1200)
    assert found[KINDS.ECHO].value < 200
    assert KINDS.ECHO in SPOILS_SOUND


BARGE_IN = (turn("a"), turn("b", agent="stop", over_agent_ms=300, pause_ms=0))


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


@pytest.mark.parametrize("agent", [Misbehaving(piece=37), Misbehaving(piece=800, empties=True)])
def test_odd_chunks_and_empty_payloads_change_nothing(agent: Misbehaving) -> None:
    """Pieces of 37 bytes, and empty ones between others: the voice is heard whole, from its first sample."""
    record, (one,), found = measure(agent)
    first = next(message for message in record.received if len(message.pcm))
    assert one.t1_ns == first.play_ns
    assert np.array_equal(np.concatenate([message.pcm for message in record.received]), heard(VOICE))
    assert one.reply_ms is not None
    assert one.reply_ms > 999  # a piece that a busy machine delays leaves a pause in it
    assert (without_lateness(found), record.warnings) == (set(), ())


def heard(pcm: Pcm16) -> Pcm16:
    """The sound after μ-law."""
    return mulaw.decode(mulaw.encode(pcm))


@pytest.mark.parametrize(("name", "dbfs"), [("hum", -30.0), ("hum", -40.0), ("music", -40.0)])
def test_an_agent_with_a_background_is_measured_by_its_voice(name: str, dbfs: float) -> None:
    """Hum or music over a socket: within 10 ms of the sample at which the voice began; the background is told.

    Other backgrounds, and how long the caller waits, are tested on a clock of the test's own, in
    `tests/harness/caller/test_background_in_calls.py`: a busy host makes holes in what this agent plays.
    """
    agent = Misbehaving(background=ambience.AMBIENCES[name](8_000, dbfs, 1))
    record, (one,), found = measure(agent, (turn("a", pause_ms=600),), clip_ms=1500)
    assert found[KINDS.BACKGROUND].value == pytest.approx(dbfs, abs=8 if name == "music" else 4)
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
