"""Finished calls: `turngap.measure_recordings` and what the command `turngap recording` calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from turngap.api.results import Run
from turngap.clock import SystemClock
from turngap.model.recorded import RecordedCall
from turngap.recordings import run as recorded_run
from turngap.recordings.plan import Channel, plan_recordings
from turngap.recordings.run import RecordingPlan
from turngap.verdict.budget import Budget


def measure_recordings(
    recordings: Sequence[Path | str] | Path | str,
    *,
    caller: Channel | None = None,
    labels: Path | str | None = None,
    budget: Budget | Path | str | None = None,
    at_ear: bool = False,
    out: Path | str = "results",
) -> Run:
    """Measure finished calls from their recordings: files with two channels, folders, or pairs `CALLER.wav+AGENT.wav`.

    `caller` is the caller's channel; without it the left one is, and a call in which that one speaks first is not
    scored. `labels` are hand labels: a file, or a folder with one for each recording. `at_ear`: the recordings were
    made at the caller's ear, so that no telephone network is added. The run has no stages, and ends of speech are
    found, not known.

    Raises:
        UsageError: (or a subclass) no recording can be scored; the message has a line for each.
        HarnessError: the run folder cannot be written.
    """
    given = [recordings] if isinstance(recordings, (Path, str)) else recordings
    plan = plan_recordings(
        given,
        caller=caller,
        labels=None if labels is None else Path(labels),
        budget=budget,
        at_ear=at_ear,
        out=Path(out),
    )
    return measure_planned(plan)[0]


def measure_planned(
    plan: RecordingPlan, on_progress: Callable[[str], None] = lambda line: None
) -> tuple[Run, tuple[RecordedCall, ...]]:
    """Measure the calls of a plan; return the run, and the calls with all of their talk."""
    finished = recorded_run.measure_recordings(plan, SystemClock(), on_progress)
    return Run(finished.path), finished.calls
