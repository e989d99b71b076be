"""Folders of runs whose figures are known, without their turns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turngap.model.figures import LatencyFigures
from turngap.model.result import LedgerSummary, Verdict

from tests.harness.report_builders import turns, write_run


def write_runs(folder: Path, medians_ms: Sequence[float | None], **changes: Any) -> list[Path]:
    """A run a day from 2026-08-01 on, with those medians and a p95 100 ms above; the build is that of its decade."""
    paths = []
    for index, median in enumerate(medians_ms):
        day = f"2026-08-{index + 1:02d}"
        build = f"{index // 10}" * 64
        figures = LatencyFigures(
            n=60,
            p50=median,
            p95=None if median is None else median + 100,
            p95_upper=None if median is None else median + 150,
            max=None,
        )
        own: dict[str, Any] = {
            "run_id": f"{day}-cpu-default",
            "started": f"{day}T10:15:00Z",
            "turn_gap_ms": figures,
            "ledger": LedgerSummary(entry=str(index), fingerprint=build, number=index % 10 + 1, counts={"PASS": 1}),
        }
        paths.append(write_run(folder / f"{day}-cpu-default", turns(1), process=False, **(own | changes)))
    return paths


def invalidate(path: Path) -> None:
    """Make the run in that folder one whose instrument was disturbed."""
    file = path / "run.json"
    text = file.read_text("utf-8")
    file.write_text(text.replace('"verdict": "MEASURED"', f'"verdict": "{Verdict.INVALID}"'), "utf-8")
