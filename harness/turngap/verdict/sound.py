"""Whether what came back was sound that callers understand: noise that is answered in time is no good answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.findings import summarise_findings
from turngap.model.finding import SPOILS_SOUND
from turngap.model.plural import plural
from turngap.model.result import Check
from turngap.model.turn import TurnRecord

MOST_SPOILT = 0.1
"""Share of the calls whose audio may be spoilt: one call in many may be a detector's error."""


def check_sound(turns: Sequence[TurnRecord], *, budgeted: bool) -> Check | None:
    """Return the check that fails where the audio of more than a tenth of the calls was no speech; None if it was.

    `turns` are all of the run: a call's findings are on its first turn, which may be a lead-in and not scored. Calls
    without a scored turn do not count.
    """
    calls = {turn.call for turn in turns if turn.scored}
    own = [turn for turn in turns if turn.call in calls]
    spoilt = {turn.call for turn in own if any(finding.kind in SPOILS_SOUND for finding in turn.findings)}
    if not spoilt:
        return None
    first = next(finding for finding in summarise_findings(own) if finding.kind in SPOILS_SOUND)
    text = f"{first.text}; {first.remedy}"
    if len(spoilt) <= MOST_SPOILT * len(calls):
        return Check(name="sound", ok=None, text=f"{plural(len(spoilt), 'call')} of {len(calls)}: {text}", warning=True)
    return Check(name="sound", ok=False if budgeted else None, text=text, warning=not budgeted)
