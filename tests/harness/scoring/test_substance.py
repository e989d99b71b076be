"""The time to substance: where content starts by the agent's clauses, and by a transcript of what was heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall
from turngap.scenario.content import default_openings, make_openings
from turngap.scoring.score import score_call
from turngap.scoring.substance import HeardWord, find_content
from turngap_agent.tracing import Span

from tests.harness.builders import (
    Call,
    attempt_spans,
    call_span,
    clause_spans,
    ns,
    planned,
    quiet,
    speech,
    tone,
    with_clauses,
)

OPENINGS = make_openings(default_openings())
WAITING = replace(planned(), probe=True, waits_for_content=True)


def only(call: Call, spans: tuple[Span, ...], *, ends_ms: float = 9000, plan: PlannedCall = WAITING) -> TurnRecord:
    (turn,) = score_call(call.ends(ends_ms), (call_span(), *spans), plan, network_ms=95, cold=False)
    return turn


def caller() -> Call:
    """One utterance with t0 at 1,610 ms."""
    return Call().utter(600, 1610)


def test_content_at_once() -> None:
    """The substance gap is the turn gap, nothing was heard before it, and the network is added to both."""
    call = caller().hear(2005, quiet(20), speech(900)).mark(2006)
    turn = only(call, with_clauses(attempt_spans(), ("It is room twelve.", 920)), ends_ms=3600)
    assert turn.outcome is Outcome.ANSWERED
    assert turn.substance_gap_ms == turn.turn_gap_ms == pytest.approx(415, abs=1)
    assert turn.perceived_substance_ms == turn.perceived_gap_ms
    assert (turn.substance_from, turn.contentless, turn.substance_note) == ("spans", "", "")


@pytest.mark.parametrize(
    ("filler", "filler_ms", "pause_ms"), [("Um,", 250, 1500), ("Um,", 440, 3000), ("Thank you,", 600, 3000)]
)
def test_a_filler_and_then_the_content(filler: str, filler_ms: float, pause_ms: float) -> None:
    """Silence is sent in between, or nothing is: the substance starts where its clause is heard, and is no underrun."""
    sent = caller().hear(2005, speech(filler_ms), quiet(pause_ms), speech(900)).mark(2006)
    dry = caller().hear(2005, speech(filler_ms)).hear(2005 + filler_ms + pause_ms, speech(900)).mark(6000)
    at_ms = 2005 + filler_ms + pause_ms - 1610
    for call, first_ms in ((sent, filler_ms + pause_ms), (dry, filler_ms)):
        turn = only(call, with_clauses(attempt_spans(), (filler, first_ms), ("it is room twelve.", 900)))
        assert turn.turn_gap_ms == pytest.approx(395, abs=1)
        assert turn.substance_gap_ms == pytest.approx(at_ms, abs=11)
        assert (turn.outcome, turn.contentless, turn.underruns_ms) == (Outcome.ANSWERED, filler, ())


def test_sound_before_the_first_clause_is_no_content() -> None:
    """A beep of 120 ms, 600 ms of silence, then the clause: the beep is t1, and no answer."""
    call = caller().hear(2005, tone(120), quiet(600), speech(900)).mark(2006)
    turn = only(call, with_clauses(attempt_spans(), ("It is room twelve.", 900), first_ms=720))
    assert turn.turn_gap_ms == pytest.approx(395, abs=1)
    assert turn.substance_gap_ms == pytest.approx(395 + 720, abs=11)
    assert turn.contentless == "a sound without words"


def test_only_a_filler_is_missed() -> None:
    """The gap is recorded, and the turn is not answered."""
    turn = only(caller().hear(2005, speech(440)).mark(2450), with_clauses(attempt_spans(), ("Um,", 440)), ends_ms=7612)
    assert (turn.outcome, turn.detail) == (Outcome.MISSED, 'only "Um," was heard (no content within 6.0 s)')
    assert turn.turn_gap_ms == pytest.approx(395, abs=1)
    assert (turn.substance_gap_ms, turn.substance_from, turn.contentless) == (None, "spans", "Um,")


def test_content_that_was_never_played_is_none() -> None:
    """The clause was sent, and cut or hung up before its first sample."""
    call = caller().hear(2005, speech(440), quiet(6000), speech(900))
    turn = only(call, with_clauses(attempt_spans(), ("Um,", 6440), ("it is room twelve.", 900)), ends_ms=7612)
    assert (turn.outcome, turn.substance_gap_ms) == (Outcome.MISSED, None)


def test_a_caller_that_did_not_wait_says_nothing() -> None:
    """Hung up half a second after the first sound: not known, and no fault of the agent."""
    call = caller().hear(2005, speech(440), quiet(3000), speech(900))
    spans = with_clauses(attempt_spans(), ("Um,", 3440), ("it is room twelve.", 900))
    turn = only(call, spans, ends_ms=2505, plan=replace(planned(), probe=True))
    assert (turn.outcome, turn.substance_gap_ms, turn.contentless) == (Outcome.ANSWERED, None, "Um,")


@pytest.mark.parametrize(("pause_ms", "later_ms"), [(0, 0), (190, 0), (300, 600)])
def test_an_opening_inside_the_content_s_clause(pause_ms: float, later_ms: float) -> None:
    """Its pause, if it has one, sets the content apart; without one the clause's start counts, which the note says."""
    call = caller().hear(2005, speech(300), quiet(pause_ms), speech(900)).mark(2006)
    turn = only(call, with_clauses(attempt_spans(), ("Um, the office is open.", 1200 + pause_ms)))
    assert turn.substance_gap_ms == pytest.approx(395 + later_ms, abs=11)
    assert turn.contentless == ("Um," if later_ms else "")
    assert turn.substance_note.startswith("content counts from the pause" if later_ms else "no pause follows 'Um,'")


def test_a_pause_in_the_content_is_no_pause_of_the_opening() -> None:
    """One word takes no 600 ms: a later pause is the content's own."""
    call = caller().hear(2005, speech(1100), quiet(400), speech(500)).mark(2006)
    turn = only(call, with_clauses(attempt_spans(), ("Um, the office is open.", 2000)))
    assert turn.substance_gap_ms == turn.turn_gap_ms


def test_an_attempt_may_be_the_filler_of_the_next() -> None:
    """All attempts that were heard in the turn count, in the order in which they were sent."""
    call = caller().hear(2005, speech(440)).mark(2010).hear(5005, speech(900)).mark(5010)
    spans = [
        *with_clauses(attempt_spans(), ("Thank you.", 440)),
        *with_clauses(attempt_spans(attempt=1, sent_ms=5004, provisional_ms=2600, confirmed_ms=2600), ("It is.", 900)),
    ]
    (turn,) = score_call(call.ends(7000), (call_span(2), *spans), WAITING, network_ms=95, cold=False)
    assert turn.substance_gap_ms == pytest.approx(5005 - 1610, abs=1)
    assert (turn.outcome, turn.contentless) == (Outcome.ANSWERED, "Thank you.")


@pytest.mark.parametrize(
    "spans",
    [
        (),
        tuple(attempt_spans()),
        tuple(clause_spans(("It is room twelve.", 900))),
    ],
)
def test_without_clauses_it_is_not_known(spans: tuple[Span, ...]) -> None:
    """No spans, spans of an agent that reports no clauses, or a lost turn span: null, and the reason."""
    turn = only(caller().hear(2005, speech(900)).mark(2006), spans)
    assert (turn.outcome, turn.substance_gap_ms, turn.substance_from) == (Outcome.ANSWERED, None, "")
    assert turn.substance_note


def test_the_late_part_of_a_reply_belongs_to_its_own_turn() -> None:
    """It is sent while the caller says the next thing: earlier talk there, neither its answer nor a cut-off."""
    call = caller().hear(2005, speech(440)).utter(4000, 6000).hear(5005, speech(600)).mark(5600).hear(6400, speech(900))
    first = with_clauses(attempt_spans(), ("Um,", 440), ("it is room twelve.", 600))
    late = [*first[:-1], replace(first[-1], start_ns=ns(5004), end_ns=ns(5004))]
    second = with_clauses(
        attempt_spans(turn=1, sent_ms=6399, provisional_ms=6100, confirmed_ms=6390), ("Yes, it is.", 900)
    )
    turns = score_call(call.ends(9000), (call_span(2), *late, *second), planned(2), network_ms=95, cold=False)
    assert [turn.outcome for turn in turns] == [Outcome.ANSWERED, Outcome.ANSWERED]
    assert [turn.substance_gap_ms for turn in turns] == [pytest.approx(5005 - 1610, abs=1), pytest.approx(400, abs=1)]
    without = score_call(call.ends(9000), (), planned(2), network_ms=95, cold=False)
    assert without[1].outcome is Outcome.CUT_OFF


def words(*items: tuple[str, float, float]) -> list[HeardWord]:
    return [HeardWord(*item) for item in items]


def test_a_transcript_s_words_are_moved_to_the_sound() -> None:
    """A recogniser's times are coarse: the content starts where the piece of sound does that its word starts."""
    pcm = np.concatenate([speech(300), quiet(1500), speech(900)])
    found = find_content(pcm, words(("Um,", 20, 400), ("the", 1660, 1900), ("office", 1900, 2400)), OPENINGS)
    assert (found.at_ms, found.contentless, found.uncertainty_ms) == (1800, "Um,", 20)


def test_a_word_inside_a_piece_of_sound_keeps_its_time() -> None:
    """No silence precedes it: the recogniser's time, with its uncertainty."""
    found = find_content(speech(1500), words(("Um", 0, 300), ("the", 320, 500), ("office", 500, 900)), OPENINGS)
    assert (found.at_ms, found.contentless, found.uncertainty_ms) == (320, "Um", 200)


def test_a_tone_before_the_words_is_none_of_them() -> None:
    """The words say nothing of it, the sound does."""
    pcm = np.concatenate([tone(120), quiet(600), speech(900)])
    found = find_content(pcm, words(("The", 700, 900), ("office", 900, 1300)), OPENINGS)
    assert (found.at_ms, found.contentless) == (720, "a sound without words")


def test_a_bare_thank_you_before_a_pause() -> None:
    """A recogniser may write no comma: the pause sets the words apart."""
    pcm = np.concatenate([speech(600), quiet(3000), speech(900)])
    apart = words(("Thank", 0, 300), ("you", 300, 620), ("for", 3600, 3800), ("calling", 3800, 4300))
    assert find_content(pcm, apart, OPENINGS).at_ms == 3600
    together = words(("Thank", 0, 200), ("you", 200, 400), ("for", 400, 600), ("calling.", 600, 1000))
    assert find_content(speech(1000), together, OPENINGS).at_ms == 0


def test_no_words_are_no_content() -> None:
    """Nor are openings alone."""
    assert find_content(tone(500), [], OPENINGS).at_ms is None
    found = find_content(speech(500), words(("Um.", 0, 400)), OPENINGS)
    assert (found.at_ms, found.contentless) == (None, "Um.")
