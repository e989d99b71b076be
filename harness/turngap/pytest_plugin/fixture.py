"""The `turngap` fixture: a run from a test, its gaps replayed into pytest-benchmark, its verdict as the test's.

What a run needs is imported when there is one: every pytest session loads this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from turngap.pytest_plugin.settings import Settings

if TYPE_CHECKING:
    from turngap.api.results import Run
    from turngap.model.result import RunRecord
    from turngap.scenario import Scenario
    from turngap.session.request import Request

DEFAULT_BUDGET = "sub500"


class ReplayTimer:
    """A clock for pytest-benchmark that runs through durations measured before: each pair of readings is one."""

    __name__ = "turngap"

    def __init__(self) -> None:
        self._durations_s: list[float] = []
        self._now_s = 0.0
        self._started = False

    def load(self, durations_s: Sequence[float]) -> None:
        """Replay these next."""
        self._durations_s = list(durations_s)
        self._now_s, self._started = 0.0, False

    def __call__(self) -> float:
        """Seconds; called at the start and at the end of each round."""
        if self._started:
            self._now_s += self._durations_s.pop(0)
        self._started = not self._started
        return self._now_s


class Turngap:
    """Measures an agent with scenarios; a test may run several, the first of them is pytest-benchmark's."""

    def __init__(self, settings: Settings, benchmark: Any, timer: ReplayTimer, test: pytest.Item) -> None:
        self._settings = settings
        self._benchmark = benchmark
        self._timer = timer
        self._test = test
        self.lines: list[str] = []
        """What was measured, one line a run."""
        self.replayed = False
        """True once pytest-benchmark has its run."""

    def run(
        self, scenario: Scenario | Path | str, *, profile: str | None = None, budget: str | None = None
    ) -> RunRecord:
        """Measure `scenario` (an object, its file, or the name of one that ships) and fail the test unless it holds.

        A relative path starts at the test's folder. `profile` goes before the command line's. A gate scenario is judged
        by `budget`, else by the command line's, else by `sub500`; others are MEASURED.

        Raises:
            pytest.fail.Exception: the verdict is FAIL, NOT SHOWN or INVALID, or no turn was answered as it should be.
            TurngapError: it could not be measured.
        """
        from turngap_agent.errors import UsageError

        from turngap import api

        if _event_loop_runs():
            raise UsageError("turngap.run() waits for the run: in an async test it is `await turngap.arun()`")
        return self._judge(api.measure_run(self._request(scenario, profile, budget), progress=True))

    async def arun(
        self, scenario: Scenario | Path | str, *, profile: str | None = None, budget: str | None = None
    ) -> RunRecord:
        """`run`, for async tests (on asyncio)."""
        from turngap_agent.errors import UsageError

        from turngap import api

        if not _event_loop_runs():
            raise UsageError("turngap.arun() needs asyncio: run the test on that backend")
        return self._judge(await api.ameasure_run(self._request(scenario, profile, budget), progress=True))

    def _request(self, document: Scenario | Path | str, profile: str | None, budget: str | None) -> Request:
        from turngap_agent.errors import UsageError

        from turngap import api, scenario

        settings, folder = self._settings, self._test.path.parent
        if profile is not None and settings.url is not None:
            raise UsageError(f"the test asks for profile {profile!r}, --agent-url for another agent: drop one")
        if isinstance(document, scenario.Scenario):
            document = scenario.resolve_audio(document, folder)
        elif isinstance(document, Path) or "/" in document or document.endswith((".yaml", ".yml")):
            document = (folder / document).resolve()
        gate = api.load_scenario(document).gate
        judged_by = (budget or settings.budget or DEFAULT_BUDGET) if gate else budget
        return api.make_request(
            document,
            agent=api.Agent(source=profile or settings.profile, address=settings.url),
            budget=judged_by,
            turns=settings.turns,
            out=settings.out,
            all_turns=settings.all_turns and judged_by is not None,
        )

    def _judge(self, run: Run) -> RunRecord:
        from turngap.model.result import Verdict

        record, page = run.record, run.report()
        self.lines.append(f"{record.scenario}: {record.verdict}: {record.sentence} Report: {page}")
        self._note(record, page)
        if run.interrupted:
            raise KeyboardInterrupt
        if run.error is not None:
            raise run.error
        answered = [turn for turn in run.turn_records if turn.scored and turn.outcome == "answered"]
        gaps_ms = [turn.turn_gap_ms for turn in answered if turn.turn_gap_ms is not None]
        if record.verdict is not Verdict.INVALID and all(map(math.isfinite, gaps_ms)):
            self._replay(gaps_ms, record)
        reasons = "".join(f"\n  - {reason}" for reason in record.reasons)
        if record.verdict.exit_code:
            pytest.fail(f"{record.verdict}: {record.sentence}{reasons}\n  report: {page}", pytrace=False)
        if not gaps_ms or len(gaps_ms) < len(answered) or not all(map(math.isfinite, gaps_ms)):
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in record.outcomes.items()) or "no turn"
            pytest.fail(
                f"no result: a test needs at least one answered turn, and the gap of each ({outcomes}); see the "
                f"report: {page}",
                pytrace=False,
            )
        return record

    def _note(self, record: RunRecord, page: Path) -> None:
        """Add the run's figures to the test's JUnit properties."""
        values = {
            "run_id": record.run_id,
            "verdict": str(record.verdict),
            "sentence": record.sentence,
            "profile": record.profile,
            "turns": record.n_turns,
            "attempt": record.ledger.number if record.ledger is not None else None,
            "turn_gap_p95_ms": record.turn_gap_ms.p95,
            "turn_gap_p95_upper_ms": record.turn_gap_ms.p95_upper,
            "perceived_gap_p95_ms": record.perceived_gap_ms.p95,
            "report": str(page),
        }
        properties = [(f"turngap_{name}", value) for name, value in values.items() if value is not None]
        self._test.user_properties.extend(properties)

    def _replay(self, gaps_ms: Sequence[float], record: RunRecord) -> None:
        """Put the first run's gaps into pytest-benchmark as its rounds.

        Raises:
            UsageError: pytest-benchmark is disabled in a way that was not found at the session's start.
        """
        if not gaps_ms or self.replayed:
            return
        if not self._benchmark.enabled:
            from turngap_agent.errors import UsageError

            raise UsageError("pytest-benchmark is disabled in this session: nothing would be stored")
        self._timer.load([gap / 1e3 for gap in gaps_ms])
        self._benchmark.extra_info.update(
            verdict=str(record.verdict),
            profile=record.profile,
            outcomes={str(outcome): count for outcome, count in record.outcomes.items()},
            p95_ms=record.turn_gap_ms.p95,
            p95_upper_ms=record.turn_gap_ms.p95_upper,
            perceived_p95_ms=record.perceived_gap_ms.p95,
            run_id=record.run_id,
        )
        self._benchmark.pedantic(lambda: None, rounds=len(gaps_ms), iterations=1)
        self.replayed = True


def _event_loop_runs() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
