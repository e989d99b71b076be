"""What follows the calls of a session that shares a run with others: each begin and end, and when all may begin."""

from __future__ import annotations

from typing import Protocol

from turngap.scenario import PlannedCall
from turngap.session.scoring_process import ScoredCall


class CallObserver(Protocol):
    """Follows the calls of a session that shares a run with others."""

    async def wait_for_start(self) -> None:
        """Return when the calls after the warm-up may be placed."""
        ...

    def note_begin(self, call: PlannedCall) -> None:
        """Note that a call is placed now."""
        ...

    def note_end(self, call: PlannedCall, scored: ScoredCall) -> None:
        """Note that a call has ended, and its turns are in the run's folder."""
        ...
