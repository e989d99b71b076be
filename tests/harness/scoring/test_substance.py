"""The time to substance: where content starts by the agent's clauses, and by a transcript of what was heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from turngap.model.records import Pcm16
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall
from turngap.scenario.content import default_openings, make_openings
from turngap.scoring.heard_content import HeardWord, find_content, refine_content
from turngap.scoring.score import score_call
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


def hum(ms: float) -> Pcm16:
    """Mains hum with an overtone, shape (ms * 8,)."""
    x = np.arange(round(ms * 8)) / 8000
    return np.rint(32_767 * (0.05 * np.sin(2 * np.pi * 50 * x) + 0.03 * np.sin(2 * np.pi * 150 * x))).astype(np.int16)


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


@pytest.mark.parametrize(("pause_ms", "later_ms", "within_ms"), [(0, 600, 11), (190, 600, 200), (300, 600, 11)])
def test_an_opening_inside_the_content_s_clause(pause_ms: float, later_ms: float, within_ms: float) -> None:
    """Its pause, if it has one, sets the content apart; without one content counts from 600 ms a word later."""
    call = caller().hear(2005, speech(300), quiet(pause_ms), speech(900)).mark(2006)
    turn = only(call, with_clauses(attempt_spans(), ("Um, the office is open.", 1200 + pause_ms)))
    assert turn.substance_gap_ms == pytest.approx(395 + later_ms, abs=within_ms)
    assert turn.contentless == "Um,"
    noted = "content counts from the last pause that 'Um,'" if pause_ms >= 200 else "no pause follows 'Um,'"
    assert turn.substance_note.startswith(noted)


CONTENT = speech(900)
INSIDE_A_CLAUSE = [
    ("a slow um", "Um, the office is open.", (speech(700), quiet(3000)), 3700),
    ("a very slow um", "Um, the office is open.", (speech(1500), quiet(3000)), 4500),
    (
        "a thank you, then an um",
        "Thank you, um, it is room 12.",
        (speech(500), quiet(250), speech(300), quiet(3000)),
        4050,
    ),
    (
        "three openings",
        "Okay, so, um, room 12.",
        (speech(300), quiet(900), speech(200), quiet(900), speech(250), quiet(2000)),
        4550,
    ),
    ("a beep, long before", "It is room twelve.", (tone(120), quiet(3000)), 3120),
    ("a beep, shortly before", "It is room twelve.", (tone(120), quiet(300)), 420),
    ("a tone without a pause", "It is room twelve.", (tone(1000),), 1000),
    ("3 s of hum", "It is room twelve.", (hum(3000),), 3000),
    ("an um, then hum", "Um, it is room twelve.", (speech(300), quiet(300), hum(2000)), 2600),
    ("noise that is no tone", "It is room twelve.", (speech(3000, seed=2),), 3000),
    ("words that are not reported", "It is room twelve.", (speech(400), quiet(700)), 1100),
]


@pytest.mark.parametrize(
    ("what", "text", "before", "later_ms"), INSIDE_A_CLAUSE, ids=[row[0] for row in INSIDE_A_CLAUSE]
)
def test_filler_inside_the_content_s_clause_is_never_content(
    what: str, text: str, before: tuple[Pcm16, ...], later_ms: float
) -> None:
    """Where spans leave it open the later time counts: never sooner than the content, and the note says why."""
    filler = np.concatenate(before)
    call = caller().hear(2005, filler, CONTENT).mark(2006)
    turn = only(call, with_clauses(attempt_spans(), (text, len(filler) / 8 + 900)))
    assert turn.turn_gap_ms == pytest.approx(395, abs=11)
    assert turn.substance_gap_ms is not None
    assert 395 + later_ms - 21 <= turn.substance_gap_ms <= 395 + later_ms + 500, what
    assert turn.substance_note
    assert turn.contentless
    assert turn.substance_text == text


def test_a_clause_that_was_cut_short_counts_from_its_last_pause() -> None:
    """Nobody knows how much of it would have followed: what was heard of the content may be all of it."""
    call = caller().hear(2005, speech(700), quiet(3000), speech(3000)).mark(2006)
    spans = with_clauses(attempt_spans(), ("Um, the office is open until nine.", 6700))
    turn = only(call, spans, ends_ms=6000)
    assert turn.substance_gap_ms == pytest.approx(395 + 3700, abs=11)


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("It is room twelve.", (speech(900),)),
        ("Yes.", (speech(700),)),
        ("Call 555 0123.", (speech(4000),)),
        ("Your appointment is on Monday, at nine in the morning.", (speech(2000), quiet(600), speech(1300))),
        ("The office is open until nine.", (speech(500), quiet(250), speech(1100))),
    ],
)
def test_a_plain_clause_counts_from_its_first_sample(text: str, sound: tuple[Pcm16, ...]) -> None:
    """A plausible length, and pauses only where content has begun: nothing is open, and no note is needed."""
    pcm = np.concatenate(sound)
    turn = only(caller().hear(2005, pcm).mark(2006), with_clauses(attempt_spans(), (text, len(pcm) / 8)))
    assert turn.substance_gap_ms == turn.turn_gap_ms
    assert (turn.contentless, turn.substance_note) == ("", "")


def test_a_pause_in_the_content_is_no_pause_of_the_opening() -> None:
    """What follows it is too short for the clause's other words; the opening's own words end by 600 ms."""
    call = caller().hear(2005, speech(1100), quiet(400), speech(500)).mark(2006)
    turn = only(call, with_clauses(attempt_spans(), ("Um, the office is open.", 2000)))
    assert turn.substance_gap_ms == pytest.approx(395 + 600, abs=11)


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


def test_a_word_that_is_stretched_over_a_silence_is_in_the_later_sound() -> None:
    """A recogniser that leaves out an "um" lets the sentence's first word begin there."""
    pcm = np.concatenate([speech(700), quiet(3000), speech(900)])
    found = find_content(pcm, words(("The", 0, 3850), ("office", 3850, 4300)), OPENINGS)
    assert (found.at_ms, found.contentless) == (3700, "a sound without words")


def in_doubt(text: str = "Um, the office is open.", *sound: Pcm16) -> TurnRecord:
    pcm = np.concatenate(sound)
    return only(caller().hear(2005, pcm).mark(2006), with_clauses(attempt_spans(), (text, len(pcm) / 8)))


def test_a_transcript_refines_what_the_spans_leave_open() -> None:
    """The opening was recognised: the content starts at its next word."""
    turn = in_doubt("Um, the office is open.", speech(1500))
    found = find_content(speech(1500), words(("Um,", 0, 300), ("the", 320, 500), ("office", 500, 900)), OPENINGS)
    refined = refine_content(turn, found)
    assert refined.substance_gap_ms == pytest.approx(395 + 320, abs=1)
    assert (refined.substance_from, refined.contentless) == ("transcript", "Um,")


def test_an_opening_that_the_recogniser_leaves_out_stays_one() -> None:
    """Then content counts from the end of its first word, or from the spans' time where that is earlier."""
    turn = in_doubt("Um, the office is open.", speech(1500))
    left_out = find_content(speech(1500), words(("the", 0, 450), ("office", 450, 900)), OPENINGS)
    refined = refine_content(turn, left_out)
    assert refined.substance_gap_ms == pytest.approx(395 + 450, abs=1)
    assert "was not recognised" in refined.substance_note
    late = find_content(speech(1500), words(("the", 0, 900), ("office", 900, 1300)), OPENINGS)
    assert refine_content(turn, late) == turn


def test_a_transcript_without_words_refines_nothing() -> None:
    """The spans' later time stays, and the note says so."""
    turn = in_doubt("Um, the office is open.", speech(1500))
    refined = refine_content(turn, find_content(speech(1500), [], OPENINGS))
    assert refined.substance_gap_ms == turn.substance_gap_ms
    assert refined.substance_note.endswith("the transcript shows no content")


def test_no_words_are_no_content() -> None:
    """Nor are openings alone."""
    assert find_content(tone(500), [], OPENINGS).at_ms is None
    found = find_content(speech(500), words(("Um.", 0, 400)), OPENINGS)
    assert (found.at_ms, found.contentless) == (None, "Um.")
