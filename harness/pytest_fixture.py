"""The `turngap` fixture: a run from a test, its gaps replayed into pytest-benchmark, its verdict as the test's.

What a run needs is imported when there is one: every pytest session loads this module.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness import scenario
from harness.scenario import Scenario

if TYPE_CHECKING:
    from harness.request import Request
    from harness.result import RunRecord
    from harness.run import Finished
    from harness.turn import TurnRecord

DEFAULT_BUDGET = "sub500"


class ReplayTimer:
    """A clock for pytest-benchmark that runs through durations measured before: each pair of readings is one."""

    def __init__(self) -> None:
        self._durations_s: list[float] = []
        self._now_s = 0.0
        self._started = False

    def load(self, durations_s: Sequence[float]) -> None:
        """Replay these next."""
        self._durations_s = list(durations_s)

    def __call__(self) -> float:
        """Seconds; called at the start and at the end of each round."""
        if self._started:
            self._now_s += self._durations_s.pop(0)
        self._started = not self._started
        return self._now_s


TIMER = pytest.StashKey[ReplayTimer]()


@dataclass(frozen=True, slots=True)
class Settings:
    """What command line and ini file say."""

    profile: str | None
    url: str | None
    budget: str | None
    turns: int | None
    out: Path


class _Silent:
    """Keeps what a run says, for the test's report."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def says(self, text: str) -> None:
        self.lines.append(text)

    def begins(self, turns: int) -> None:
        self.lines.append(f"{turns} turns to be scored")

    def turn(self, turn: TurnRecord) -> None:
        if turn.outcome != "answered" and not turn.warm_up:
            self.lines.append(f"{turn.utterance_id}: {turn.outcome} {turn.detail}")


class Turngap:
    """Measures an agent with scenarios; a test may run several, the first of them is pytest-benchmark's."""

    def __init__(self, settings: Settings, benchmark: Any, timer: ReplayTimer) -> None:
        self._settings = settings
        self._benchmark = benchmark
        self._timer = timer
        self.lines: list[str] = []
        """What was measured, one line a run."""

    def run(self, what: Scenario | Path | str, *, profile: str | None = None, budget: str | None = None) -> RunRecord:
        """Measure `what` (a scenario, its file, or the name of one that ships) and fail the test unless it holds.

        A gate scenario is judged by `budget`, else by the command line's, else by `sub500`; others are MEASURED.

        Raises:
            pytest.fail.Exception: the verdict is FAIL or INVALID, or no turn was answered as it should be.
            TurngapError: it could not be measured.
        """
        return asyncio.run(self.arun(what, profile=profile, budget=budget))

    async def arun(
        self, what: Scenario | Path | str, *, profile: str | None = None, budget: str | None = None
    ) -> RunRecord:
        """`run`, for async tests."""
        from harness import command
        from harness.clock import SystemClock
        from harness.run import run

        with tempfile.TemporaryDirectory(prefix="turngap-") as folder:
            asked = self._request(what, Path(folder), profile, budget)
            said = _Silent()
            asked, clips = await asyncio.to_thread(command.prepare, asked, said.says)
            finished = await run(asked, clips, said, clock=SystemClock(), stop=asyncio.Event())
        return self._judge(finished)

    def _request(self, what: Scenario | Path | str, folder: Path, profile: str | None, budget: str | None) -> Request:
        from harness import request

        if isinstance(what, Scenario):
            path = folder / f"{what.name}{scenario.SUFFIX}"
            path.write_text(yaml.safe_dump(what.model_dump(mode="json", exclude_none=True)), "utf-8")
        else:
            path = request.locate(what) if isinstance(what, str) else what
        gate = scenario.load(path).gate
        given = self._settings
        return request.make(
            str(path.resolve()),
            profile=None if given.url else profile or given.profile,
            url=given.url,
            budget=(budget or given.budget or DEFAULT_BUDGET) if gate else budget,
            options=request.Options(n_turns=given.turns, out=given.out),
        )

    def _judge(self, finished: Finished) -> RunRecord:
        from harness import command, report, store

        record, folder = finished.record, finished.folder.path
        page = command.report_path(folder)
        report.render(folder, page)
        self.lines.append(f"{record.scenario}: {record.verdict}: {record.sentence} Report: {page}")
        if finished.error is not None:
            raise finished.error
        turns = store.read(folder).turns
        gaps = [turn.turn_gap_ms for turn in turns if turn.scored and turn.outcome == "answered"]
        self._replay([gap for gap in gaps if gap is not None], record)
        reasons = "".join(f"\n  - {reason}" for reason in record.reasons)
        if record.verdict.exit_code:
            pytest.fail(f"{record.verdict}: {record.sentence}{reasons}\n  report: {page}", pytrace=False)
        if not gaps:
            pytest.fail(f"no turn was answered as it should be: {record.outcomes}\n  report: {page}", pytrace=False)
        return record

    def _replay(self, gaps_ms: Sequence[float], record: RunRecord) -> None:
        """Put the first run's gaps into pytest-benchmark as its rounds."""
        if not gaps_ms or len(self.lines) > 1:
            return
        self._timer.load([gap / 1e3 for gap in gaps_ms])
        self._benchmark.extra_info.update(
            verdict=record.verdict,
            profile=record.profile,
            outcomes={str(outcome): count for outcome, count in record.outcomes.items()},
            p95_ms=record.turn_gap_ms.p95,
            p95_upper_ms=record.turn_gap_ms.p95_upper,
            perceived_p95_ms=record.perceived_gap_ms.p95,
            run_id=record.run_id,
        )
        self._benchmark.pedantic(lambda: None, rounds=len(gaps_ms), iterations=1)
