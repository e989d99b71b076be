"""One whole run in a process of its own, `python -m turngap.cluster.trial_process FOLDER`: agent, calls and verdict.

It is started on a node by a job of Ray's. What is to be run arrives on stdin; the run's folder is made in FOLDER.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from turngap_agent.errors import TurngapError, format_error

from turngap.clock import SystemClock
from turngap.corpus.clips import Corpus
from turngap.model.turn import TurnRecord
from turngap.session import preparation, runner
from turngap.session.agent_run import AssignedCall, close_run, open_run
from turngap.session.request import Request
from turngap.session.runner import Session
from turngap.store import folder as store


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that a node does by itself."""

    name: str
    """The setting, or the scenario."""
    folder_name: str
    request: Request
    corpus: Corpus
    notes: tuple[str, ...] = ()
    """Added to the run's."""


class _Progress:
    """Prints lines on stderr, which the job's log keeps."""

    def show_message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show_start(self, turns: int) -> None:
        print(f"{turns} turns to be scored", file=sys.stderr, flush=True)

    def show_turn(self, turn: TurnRecord, setting: str = "") -> None: ...


async def run_trial(trial: Trial, folder: Path) -> None:
    """Do the run, and leave it in `folder`.

    Raises:
        TurngapError: it could not be begun; what ends it later is in its record.
    """
    clock, progress = SystemClock(), _Progress()
    request = replace(trial.request, options=replace(trial.request.options, out=folder))
    if request.profile is not None:
        preparation.fetch_weights(request.profile_data)
    agent_run = await open_run(request, trial.corpus, clock, folder_name=trial.folder_name)
    agent_run.progress.notes += trial.notes
    session = Session(
        agent_runs=[agent_run],
        calls=[AssignedCall(agent_run, call) for call in request.missing],
        slots=request.simultaneous_calls,
        sentinel_log=agent_run.folder.path / store.SENTINEL,
        interrupted="the job was ended",
    )
    try:
        await runner.run_session(session, trial.corpus, progress, clock=clock, stop=asyncio.Event())
        close_run(agent_run, trial.corpus.clips, clock)
    finally:
        agent_run.unlock()


def main() -> int:
    """Run the trial on stdin; return 1, with the error on stderr, if it could not be begun."""
    trial: Trial = pickle.load(sys.stdin.buffer)  # of the job that started this process
    try:
        asyncio.run(run_trial(trial, Path(sys.argv[1])))
    except TurngapError as error:
        print(format_error(str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # Not this `__main__`'s own classes: the pickle names those of the module.
    from turngap.cluster import trial_process

    sys.exit(trial_process.main())
