"""The outcome of a turn: which faults it has, which one names it, and when the instrument's lateness leaves it open.

The first fault in this order names the turn; `detail` lists all. Lateness is the instrument's own, send or
receive, in the turn's window (from 500 ms before t0 to t1).

| outcome   | condition                                                        | in doubt (INVALID) if             |
|-----------|------------------------------------------------------------------|-----------------------------------|
| failed    | the call failed before the turn was finished; or the agent       | never                             |
|           | reported an error for what was heard (an apology)                |                                   |
| talked_   | STOP: the agent did not yield within 1,000 ms of the caller, or  | lateness over 100 ms              |
| over      | its old reply was audible for over 300 ms after that             |                                   |
| cut_off   | the agent's onset is before t0                                   | send lateness over 100 ms         |
| missed    | no onset before the caller stopped waiting, or no content in all | lateness over 100 ms              |
|           | that was heard ("um", a tone)                                    |                                   |
| broken    | underruns of more than 100 ms in all inside the reply, or        | it is 100 ms or less without what |
|           | when a probe call hung up on a reply that had not ended; or      | the instrument's stalls can cause |
|           | the reply is less than 100 ms of sound and nothing followed      |                                   |
| truncated | the last word of two or more letters is not in the transcript    | send lateness over 100 ms         |
| wrong     | the word error rate is over the turn's limit                     | send lateness over 100 ms         |
| intruded  | WAIT: an onset; IGNORE: a reply to it was heard                  | send lateness over 100 ms         |
| stopped   | IGNORE: the sentence did not continue, or over 100 ms of it were | lateness over 100 ms              |
|           | lost or repeated                                                 |                                   |
| cut_off,  | LIMIT: an onset before the scenario's minimum time; no onset     | lateness over 100 ms              |
| missed    | before the caller had finished                                   |                                   |
| answered  | RESPOND, STOP: none of these                                     | lateness over 5 ms                |
| held      | WAIT, IGNORE: none of these                                      | lateness over 5 ms; WAIT: 100 ms  |
| limited   | LIMIT: none of these                                             | lateness over 100 ms              |

The expectation of the turn decides which of these are checked: RESPOND and STOP all but intruded and stopped,
WAIT and IGNORE only failed, intruded and stopped, LIMIT only failed and its own two. A backchannel that met a silent
agent (its reply was shorter than planned) had no sentence to continue: it is held if it was not answered, and no
rate of backchannels counts it.

A turn is INVALID only if it has no certain fault *and* a fault in doubt: lateness of some milliseconds changes
a gap, so an answered turn loses its figure, but it cannot cause wrong words, silence or a hang-up; only a hole in the
caller's speech as long as a pause (100 ms) can. So no fault of the agent is hidden by the instrument's lateness, and
none of the instrument's is attributed to the agent. Faults in doubt are listed in `detail`.
"""

from __future__ import annotations

from dataclasses import dataclass

from turngap.model.turn import Outcome
from turngap.scenario import Expectation

LATENESS_LIMIT_MS = 5.0
"""With more than this a gap is not reliable."""
HOLE_MS = 100.0
"""A hole in the caller's speech that an agent could mistake for the end of the turn."""
UNDERRUN_LIMIT_MS = 100.0
YIELD_MS = 1000.0
"""An agent that speaks for longer did not yield."""
STALE_MS = 300.0
"""With more of the old reply than this after yielding, the agent continued it."""
SENTENCE_MS = 100.0
"""Less than any word: so much of a sentence may be lost or repeated where it was interrupted."""
AFTER_PAUSE_MS = 600
"""A reply that starts within this time after a pause is attributed to the pause."""
MIN_REPLY_MS = 100.0
"""No word is shorter: a reply with less sound and nothing after it stalled."""
WORDLESS = "a sound without words"
"""What was heard where it had no words at all."""


_UNTIMED = (Expectation.WAIT, Expectation.LIMIT)
_GOOD_OUTCOME = {
    Expectation.WAIT: Outcome.HELD,
    Expectation.IGNORE: Outcome.HELD,
    Expectation.LIMIT: Outcome.LIMITED,
}


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """The facts of one turn that bear on its outcome."""

    expectation: Expectation
    over_agent: bool
    """The caller was to speak over the agent, and did."""
    call_broke: str
    """How the call failed before the turn was finished; "" if it did not."""
    agent_error: str
    """The error that the agent reported for the attempt that was heard (it may have apologised); "" if none."""
    cut_off_ms: float | None
    """How long before t0 the agent was audible."""
    in_pause: bool
    """... because of a pause inside the utterance."""
    answered: bool
    """There is a t1."""
    only_heard: str
    """All that was heard, if it is known to have no content; "" otherwise."""
    listened_ms: float
    """From t0 until the caller spoke again or hung up."""
    waited_ms: float
    """From t0 until the caller stopped waiting."""
    talked_through: bool
    """The agent was audible while the caller spoke, until the utterance's end."""
    intruded_ms: float | None
    """When the agent spoke although it had to stay silent, from the start of the turn."""
    spoke_up_ms: float | None
    """When the agent spoke to a caller who did not stop, from the start of the turn ..."""
    limit_after_ms: float
    """... and from when on that is correct."""
    answer_to_ignored: bool
    """A reply to what should have been ignored was heard."""
    stop_ms: float | None
    """Barge-in: how long the agent continued to speak ..."""
    stale_ms: float | None
    """... and how much of the old reply was audible after that."""
    sentence_gone: bool
    """Backchannel: the agent's sentence did not continue, although it had not ended ..."""
    lost_ms: float
    """... or continued without so much of it ..."""
    repeated_ms: float
    """... or with so much of it repeated."""
    underrun_ms: float
    """Sum of the underruns inside the reply ..."""
    own_underrun_ms: float
    """... and how much of it the instrument's own stalls can have caused."""
    stalled_after_ms: float | None
    """Length of a reply that stalled, if it is less than `MIN_REPLY_MS`."""
    missing_last_word: str | None
    wer: float | None
    wer_limit: float
    send_late_ms: float
    recv_late_ms: float


def describe_no_content(only_heard: str, listened_ms: float) -> str:
    """Return why a turn is missed whose reply had no content for `listened_ms` after t0."""
    heard = only_heard if only_heard == WORDLESS else f'"{only_heard}"'
    return f"only {heard} was heard (no content within {listened_ms / 1000:.1f} s)"


def describe_underruns(sum_ms: float) -> str:
    """Return why a turn whose reply ran dry is broken."""
    return f"the reply had underruns of {sum_ms:.0f} ms in all"


def judge_turn(findings: TurnFacts) -> tuple[Outcome, str]:
    """Return the outcome, and the reason in one line ("" if answered)."""
    faults = _list_faults(findings)
    certain = next((outcome for outcome, _, in_doubt in faults if not in_doubt), None)
    late = (
        f"the instrument was late: send {findings.send_late_ms:.1f} ms, receive {findings.recv_late_ms:.1f} ms "
        f"(limit {_limit_ms(findings):g} ms)"
    )
    texts = [f"{text} (in doubt)" if in_doubt else text for _, text, in_doubt in faults]
    too_late = max(findings.send_late_ms, findings.recv_late_ms) > _limit_ms(findings)
    if certain is not None:
        return certain, "; ".join(texts)
    if faults or too_late:
        return Outcome.INVALID, "; ".join([late, *texts])
    if findings.expectation is Expectation.IGNORE and not findings.over_agent:
        return Outcome.HELD, "the agent was not speaking: there was no sentence to continue"
    return _GOOD_OUTCOME.get(findings.expectation, Outcome.ANSWERED), ""


def _limit_ms(findings: TurnFacts) -> float:
    """Return the lateness that leaves a turn open; if nothing is timed, what can change the agent's behaviour."""
    return HOLE_MS if findings.expectation in _UNTIMED else LATENESS_LIMIT_MS


def _list_faults(findings: TurnFacts) -> list[tuple[Outcome, str, bool]]:
    """Return all faults in the order of precedence: (outcome, text, in doubt)."""
    faults = (findings.call_broke, findings.agent_error and f"the agent reported an error: {findings.agent_error}")
    broke = [(Outcome.FAILED, fault, False) for fault in faults if fault]
    if findings.expectation.needs_silence:
        return [*broke, *_not_left_alone(findings)]
    if findings.expectation is Expectation.LIMIT:
        return [*broke, *_not_limited(findings)]
    return [*broke, *_not_yielded(findings), *_not_answered(findings)]


def _not_left_alone(findings: TurnFacts) -> list[tuple[Outcome, str, bool]]:
    hole = findings.send_late_ms > HOLE_MS
    away = hole or findings.recv_late_ms > HOLE_MS
    faults: list[tuple[Outcome, str, bool]] = []
    if findings.intruded_ms is not None:
        faults.append(
            (
                Outcome.INTRUDED,
                f"the agent spoke after {findings.intruded_ms:.0f} ms although the caller said nothing",
                hole,
            )
        )
    if findings.answer_to_ignored:
        faults.append((Outcome.INTRUDED, "the agent answered what it should have ignored", hole))
    if findings.sentence_gone:
        faults.insert(0, (Outcome.STOPPED, "the agent's sentence did not continue", away))
    if findings.lost_ms > SENTENCE_MS and not findings.sentence_gone:
        faults.insert(0, (Outcome.STOPPED, f"{findings.lost_ms:.0f} ms of the agent's sentence were lost", away))
    if findings.repeated_ms > SENTENCE_MS:
        text = f"{findings.repeated_ms:.0f} ms of the agent's sentence were repeated"
        faults.insert(0, (Outcome.STOPPED, text, away))
    return faults


def _not_limited(findings: TurnFacts) -> list[tuple[Outcome, str, bool]]:
    away = max(findings.send_late_ms, findings.recv_late_ms) > HOLE_MS
    if findings.cut_off_ms is None or findings.spoke_up_ms is None:
        return [(Outcome.MISSED, "the agent did not speak to a caller who did not stop", away)]
    if findings.spoke_up_ms < findings.limit_after_ms:
        text = f"the agent was audible {findings.spoke_up_ms:.0f} ms after the caller began, under"
        return [(Outcome.CUT_OFF, f"{text} {findings.limit_after_ms:.0f} ms", away)]
    return []


def _not_yielded(findings: TurnFacts) -> list[tuple[Outcome, str, bool]]:
    away = max(findings.send_late_ms, findings.recv_late_ms) > HOLE_MS
    if findings.stop_ms is not None and findings.stop_ms > YIELD_MS:
        return [(Outcome.TALKED_OVER, f"the agent did not stop for {findings.stop_ms:.0f} ms", away)]
    if findings.stale_ms is not None and findings.stale_ms > STALE_MS:
        text = f"the agent continued its old reply for {findings.stale_ms:.0f} ms after it had stopped"
        return [(Outcome.TALKED_OVER, text, away)]
    return []


def _not_answered(findings: TurnFacts) -> list[tuple[Outcome, str, bool]]:
    hole = findings.send_late_ms > HOLE_MS
    faults: list[tuple[Outcome, str, bool]] = []
    if findings.cut_off_ms is not None:
        why = ", because of a pause" if findings.in_pause else ""
        text = f"the agent was audible {findings.cut_off_ms:.0f} ms before the caller had finished{why}"
        faults.append((Outcome.CUT_OFF, text, hole))
    elif not findings.answered and not findings.call_broke:
        text = f"no audible answer within {findings.waited_ms:.0f} ms"
        if findings.talked_through:
            text += ": sound came while the caller spoke, and none started after it"
            text += " (does the agent send the caller's own audio back?)"
        faults.append((Outcome.MISSED, text, hole or findings.recv_late_ms > HOLE_MS))
    elif findings.only_heard:
        faults.append(
            (
                Outcome.MISSED,
                describe_no_content(findings.only_heard, findings.listened_ms),
                hole or findings.recv_late_ms > HOLE_MS,
            )
        )
    if findings.underrun_ms > UNDERRUN_LIMIT_MS:
        text = describe_underruns(findings.underrun_ms)
        ours = findings.underrun_ms - findings.own_underrun_ms <= UNDERRUN_LIMIT_MS
        faults.append((Outcome.BROKEN, text, ours))
    elif findings.stalled_after_ms is not None:
        text = f"the reply stopped after {findings.stalled_after_ms:.0f} ms of sound"
        faults.append((Outcome.BROKEN, text, False))
    if findings.missing_last_word is not None:
        text = f"the last word {findings.missing_last_word!r} was not in the words that the agent understood"
        faults.append((Outcome.TRUNCATED, text, hole))
    if findings.wer is not None and findings.wer > findings.wer_limit:
        text = f"word error rate {findings.wer:.2f} is over {findings.wer_limit:.2f}"
        faults.append((Outcome.WRONG, text, hole))
    return faults
