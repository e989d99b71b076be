"""What became of a turn: what was found, which finding names it, and when our own lateness leaves it open.

The first finding in this order names the turn; `detail` tells of all. Lateness is the instrument's own, send or
receive, in the turn's window (from 500 ms before t0 to t1).

| outcome   | found when                                                       | in doubt (INVALID) when           |
|-----------|------------------------------------------------------------------|-----------------------------------|
| failed    | the call broke before the turn was done                          | never                             |
| cut_off   | the agent's onset lies before t0                                 | send lateness over 100 ms         |
| missed    | no onset before waiting ended                                    | lateness over 100 ms              |
| broken    | playout dry for more than 100 ms in all inside the reply, or     | it is 100 ms or less without what |
|           | when a probe call was hung up on a reply that had not ended; or  | our own stalls can have caused    |
|           | the reply is less than 100 ms of sound and nothing came after it |                                   |
| truncated | the last word of two or more letters is not in the transcript    | send lateness over 100 ms         |
| wrong     | the word error rate is over the turn's limit                     | send lateness over 100 ms         |
| answered  | nothing of that                                                  | lateness over 5 ms                |

A turn is INVALID only when nothing certain was found *and* something in doubt was: lateness of some milliseconds moves
a gap, so it takes an answered turn's figure away, but it cannot invent words, silence or a hang-up; only a hole in the
caller's speech as long as a pause (100 ms) could have. So no fault of an agent hides behind ours, and no fault of ours
is laid to the agent. A finding in doubt is told in `detail`.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.turn import Outcome

LATENESS_LIMIT_MS = 5.0
"""More than this makes a gap's figure doubtful."""
HOLE_MS = 100.0
"""A hole in the caller's speech that an agent could take for the end of the turn."""
UNDERRUN_LIMIT_MS = 100.0
MIN_REPLY_MS = 100.0
"""No word is shorter; less sound with nothing after it is a reply that stalled."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The facts of one turn that bear on its outcome."""

    call_broke: str
    """How the call broke before the turn was done; "" if it did not."""
    cut_off_ms: float | None
    """How long before t0 the agent was audible."""
    answered: bool
    """There is a t1."""
    waited_ms: float
    """From t0 until waiting ended; told where there was no answer."""
    underrun_ms: float
    """Playout dry inside the reply, in all ..."""
    own_underrun_ms: float
    """... and how much of it our own stalls can have caused."""
    stalled_after_ms: float | None
    """How much sound there was before nothing more came, where that is less than `MIN_REPLY_MS`."""
    missing_last_word: str | None
    wer: float | None
    wer_limit: float
    send_late_ms: float
    recv_late_ms: float


def judge(findings: Findings) -> tuple[Outcome, str]:
    """The outcome, and why in one line ("" when answered)."""
    found = _found(findings)
    named = next((outcome for outcome, _, in_doubt in found if not in_doubt), None)
    late = (
        f"our own lateness: send {findings.send_late_ms:.1f} ms, receive {findings.recv_late_ms:.1f} ms "
        f"(limit {LATENESS_LIMIT_MS:g} ms)"
    )
    texts = [f"{text} (in doubt)" if in_doubt else text for _, text, in_doubt in found]
    too_late = max(findings.send_late_ms, findings.recv_late_ms) > LATENESS_LIMIT_MS
    if named is not None:
        return named, "; ".join(texts)
    if found or too_late:
        return Outcome.INVALID, "; ".join([late, *texts])
    return Outcome.ANSWERED, ""


def _found(findings: Findings) -> list[tuple[Outcome, str, bool]]:
    """All that is wrong, in the order of precedence: (outcome, text, in doubt)."""
    hole = findings.send_late_ms > HOLE_MS
    found: list[tuple[Outcome, str, bool]] = []
    if findings.call_broke:
        found.append((Outcome.FAILED, findings.call_broke, False))
    if findings.cut_off_ms is not None:
        text = f"the agent was audible {findings.cut_off_ms:.0f} ms before the caller was done"
        found.append((Outcome.CUT_OFF, text, hole))
    elif not findings.answered and not findings.call_broke:
        text = f"no audible answer within {findings.waited_ms:.0f} ms"
        found.append((Outcome.MISSED, text, hole or findings.recv_late_ms > HOLE_MS))
    if findings.underrun_ms > UNDERRUN_LIMIT_MS:
        text = f"playout ran dry for {findings.underrun_ms:.0f} ms inside the reply"
        ours = findings.underrun_ms - findings.own_underrun_ms <= UNDERRUN_LIMIT_MS
        found.append((Outcome.BROKEN, text, ours))
    elif findings.stalled_after_ms is not None:
        text = f"the reply stopped after {findings.stalled_after_ms:.0f} ms of sound"
        found.append((Outcome.BROKEN, text, False))
    if findings.missing_last_word is not None:
        text = f"the last word {findings.missing_last_word!r} was not in what the agent answered"
        found.append((Outcome.TRUNCATED, text, hole))
    if findings.wer is not None and findings.wer > findings.wer_limit:
        text = f"word error rate {findings.wer:.2f} is over {findings.wer_limit:.2f}"
        found.append((Outcome.WRONG, text, hole))
    return found
