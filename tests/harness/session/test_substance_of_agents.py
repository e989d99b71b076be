"""Agents with fillers, called, scored and transcribed: the time to substance, and what `sub500` makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from turngap.clock import NS_PER_MS
from turngap.model.finding import FindingKind
from turngap.model.records import Pcm16
from turngap.model.result import Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall
from turngap.scenario.content import default_openings, make_openings
from turngap.scoring.score import score_call
from turngap.session.reply_transcripts import Transcribed, transcribe_replies
from turngap.store import recording
from turngap.verdict.budget import load_budget
from turngap.verdict.content_sample import ContentSample
from turngap.verdict.gate import Evidence, judge_run
from turngap_agent import weights
from turngap_agent.tracing import Span
from turngap_agent.transcribe import MODEL

from tests.harness.caller.calls import Agent, call, turn
from tests.harness.session.filler_agents import CONTENT, beep, filler_agent, murmur, speak

LATE_MS = 150
"""The test's clock is ten times as fast: so much is a few milliseconds of a busy host."""
NOTHING = np.zeros(0, np.int16)
SPOKEN = murmur(1600)
"""As long as the content's words take."""


@pytest.fixture
def recogniser() -> None:
    """Skip where the recogniser's weights have not been fetched; the cases with spans need none."""
    pytest.importorskip("faster_whisper")
    if not next(status for status in weights.list_all() if status.pin.name == MODEL).cached:
        pytest.skip(f"needs the weights {MODEL}")


def measure(
    folder: Path,
    filler: Pcm16,
    text: str,
    later_ms: float,
    spans: list[Span] | None,
    content: Pcm16 | None = None,
    sample_seed: str | None = None,
) -> TurnRecord:
    """Call such an agent, score the call with its spans, if it sends any, and transcribe the reply otherwise."""
    return heard_in(folder, filler_agent(filler, text, later_ms, spans, content), spans, sample_seed).turns[0]


def heard_in(folder: Path, agent: Agent, spans: list[Span] | None, sample_seed: str | None = None) -> Transcribed:
    """Call an agent once; return the turn, and the comparison of its clauses with what was heard."""
    turns = (turn(),)
    record, _ = call(agent, turns, probe=True, waits_for_content=True, spans_so_far=lambda _: spans or [])
    plan = PlannedCall(7, turns, probe=True, waits_for_content=True)
    (scored,) = score_call(record, spans or (), plan, network_ms=95, cold=False)
    recording.write_wav(folder / "call.wav", recording.make_stereo(record))
    offset_ms = (scored.t0_ns - record.started_ns) / NS_PER_MS
    late = {"lateness_send_ms": 0.0, "lateness_recv_ms": 0.0}  # the fast clock's own
    scored = scored.model_copy(update={"audio": "call.wav", "audio_offset_ms": offset_ms, **late})
    if scored.outcome is Outcome.INVALID:
        scored = scored.model_copy(update={"outcome": Outcome.ANSWERED, "detail": ""})
    return transcribe_replies(folder, [scored], make_openings(default_openings()), sample_seed=sample_seed)


def judge(one: TurnRecord) -> tuple[Verdict, str]:
    """The verdict of `sub500` on 190 turns like this one."""
    turns = [one.model_copy(update={"call": n, "utterance_id": f"u{n}"}) for n in range(190)]
    evidence = Evidence(planned_turns=190, complete=True, calibration_bias_ms=0.1, sentinel_bias_ms=0.1)
    judgement = judge_run(turns, evidence, load_budget("sub500"))
    return judgement.verdict, " ".join((judgement.sentence, *judgement.reasons))


FILLERS = [("Um,", 1500), ("Um,", 3000), ("Thank you,", 3000), ("", 600), ("", 3000)]
"""What is said at once, or "" for a beep of 120 ms, and how much later the content comes, ms."""


@pytest.mark.parametrize(("text", "later_ms"), FILLERS)
def test_a_filler_agent_with_spans_fails(tmp_path: Path, text: str, later_ms: float) -> None:
    """The substance is the content's onset, and `sub500` fails by it alone; nothing is needed for that."""
    filler = murmur(440) if text else beep(120)
    check_filler(measure(tmp_path, filler, text, later_ms, [], SPOKEN), filler, later_ms, "spans")


@pytest.mark.usefixtures("recogniser")
@pytest.mark.parametrize(("text", "later_ms"), FILLERS)
def test_a_filler_agent_without_spans_fails(tmp_path: Path, text: str, later_ms: float) -> None:
    """By the transcript of its reply."""
    filler = speak(text) if text else beep(120)
    heard = measure(tmp_path, filler, text, later_ms, None)
    check_filler(heard, filler, later_ms, "transcript")
    kinds = {finding.kind for finding in heard.findings}
    assert (FindingKind.LATE_VOICE in kinds) == (not text)  # the detector hears a voice in "um", and none in a beep


def check_filler(heard: TurnRecord, filler: Pcm16, later_ms: float, source: str) -> None:
    assert heard.turn_gap_ms is not None
    assert heard.substance_gap_ms is not None, heard.substance_note
    assert (heard.outcome, heard.substance_from) == (Outcome.ANSWERED, source)
    assert heard.substance_gap_ms == pytest.approx(heard.turn_gap_ms + len(filler) / 8 + later_ms, abs=LATE_MS)
    assert heard.contentless
    assert heard.perceived_gap_ms is not None
    quick = heard.model_copy(update={"turn_gap_ms": 50.0, "perceived_gap_ms": 145.0})
    verdict, text = judge(quick)
    assert (verdict, "p95 of perceived substance" in text) == (Verdict.FAIL, True), text


def test_content_at_once_is_the_substance_by_spans(tmp_path: Path) -> None:
    """An agent that answers at once has one time."""
    heard = measure(tmp_path, NOTHING, "", 0, [], SPOKEN)
    assert heard.substance_gap_ms == pytest.approx(heard.turn_gap_ms, abs=21)
    assert (heard.outcome, heard.contentless, heard.substance_from) == (Outcome.ANSWERED, "", "spans")


@pytest.mark.usefixtures("recogniser")
def test_content_at_once_is_the_substance_by_the_transcript(tmp_path: Path) -> None:
    """The same without spans."""
    heard = measure(tmp_path, NOTHING, "", 0, None)
    assert heard.substance_gap_ms == pytest.approx(heard.turn_gap_ms, abs=21)
    assert (heard.outcome, heard.contentless, heard.substance_from) == (Outcome.ANSWERED, "", "transcript")


def in_one_clause(*before: Pcm16) -> Pcm16:
    """Return the content with that before it, as the one clause that the agent reports."""
    return np.concatenate([*before, speak(CONTENT)])


@pytest.mark.usefixtures("recogniser")
@pytest.mark.parametrize("later_ms", [700, 3000])
def test_a_beep_inside_the_clause_is_refined_by_the_transcript(tmp_path: Path, later_ms: float) -> None:
    """The spans leave it open, the transcript shows it."""
    pcm = in_one_clause(beep(120), np.zeros(round(later_ms * 8), np.int16))
    heard = measure(tmp_path, NOTHING, "", 0, [], pcm)
    assert heard.turn_gap_ms is not None
    assert heard.substance_gap_ms == pytest.approx(heard.turn_gap_ms + 120 + later_ms, abs=LATE_MS)
    assert heard.substance_from == "transcript"


@pytest.mark.usefixtures("recogniser")
def test_an_honest_agent_s_clauses_are_what_was_heard(tmp_path: Path) -> None:
    """The sample's one reply says what is reported."""
    spans: list[Span] = []
    content = heard_in(tmp_path, filler_agent(NOTHING, "", 0, spans), spans, "run").content
    assert content == ContentSample(1)


@pytest.mark.usefixtures("recogniser")
@pytest.mark.parametrize("lie", ["words", "no speech"])
def test_a_lying_agent_s_clauses_are_not(tmp_path: Path, lie: str) -> None:
    """It says "um, one moment please" or nothing, and reports the content."""
    spans: list[Span] = []
    pcm = speak("Um, one moment please.") if lie == "words" else murmur(1500)
    content = heard_in(tmp_path, filler_agent(NOTHING, "", 0, spans, pcm), spans, "run").content
    assert content is not None
    assert (content.replies, content.differing) == (1, 1)


def test_without_a_recogniser_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample says what to install."""
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "empty"))
    spans: list[Span] = []
    content = heard_in(tmp_path, filler_agent(NOTHING, "", 0, spans, SPOKEN), spans, "run").content
    assert content is not None
    assert content.replies == 0
    assert "pip install 'turngap[cpu]'" in content.skipped


@pytest.mark.usefixtures("recogniser")
def test_a_tone_alone_is_no_answer(tmp_path: Path) -> None:
    """The agent sends 3 s of tone, and its words come after the caller has given up."""
    turn = measure(tmp_path, beep(3000), "", 9000, None, SPOKEN)
    assert (turn.outcome, turn.substance_gap_ms) == (Outcome.MISSED, None)
    assert turn.detail.startswith("only a sound without words was heard")


def test_without_a_recogniser_the_turn_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched: unknown, never a pass."""
    monkeypatch.setenv("TURNGAP_CACHE", str(tmp_path / "empty"))
    turn = measure(tmp_path, beep(1500), "", 300, None, SPOKEN)
    assert (turn.substance_gap_ms, turn.substance_from) == (None, "")
    assert "turngap weights pull whisper-tiny.en" in turn.substance_note
    # What ran dry before the words is an underrun here, as nobody knows that they are words: left out to see the rest.
    quick = {"turn_gap_ms": 50.0, "perceived_gap_ms": 145.0, "underruns_ms": (), "underruns_at_ms": ()}
    verdict, text = judge(turn.model_copy(update={**quick, "outcome": Outcome.ANSWERED, "detail": ""}))
    assert verdict is not Verdict.PASS
    assert "turngap weights pull whisper-tiny.en" in text
