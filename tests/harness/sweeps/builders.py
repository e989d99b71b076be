"""Sweep folders with plausible runs, for tests that render them."""

from __future__ import annotations

from pathlib import Path

from turngap.model.turn import Outcome, TurnRecord
from turngap.sweeps import folder
from turngap.sweeps.folder import SettingRow, SweepRecord

from tests.harness import report_builders as make


def some_turns(place: int, n: int) -> list[TurnRecord]:
    """The faster a setting, the more often it cuts off; the last one is slow and cuts off as well."""
    scale = (1.0, 0.8, 0.6, 1.2)[place % 4]
    cuts = (0, 1, 4, 3)[place % 4]
    return [
        make.turn(index, scale=scale, seed=1, outcome=Outcome.CUT_OFF if index < cuts else Outcome.ANSWERED)
        for index in range(n)
    ]


def write_sweep(path: Path, settings: int = 4, n: int = 60, *, begun: int | None = None, complete: bool = True) -> Path:
    """A sweep of `settings` settings; the first `begun` have a run."""
    path.mkdir(parents=True)
    rows = tuple(
        SettingRow(
            name=f"min_silence_ms={300 - 50 * place} <b>",
            slug=f"min_silence_ms-{300 - 50 * place}",
            set=(f"endpointing.min_silence_ms={300 - 50 * place}",),
            current=place == 1,
            profile_data={},
        )
        for place in range(settings)
    )
    record = SweepRecord(
        sweep_id=path.name,
        started="2026-07-11T10:15:00+00:00",
        complete=False,
        scenario="pauses",
        scenario_path="scenarios/pauses.scenario.yaml",
        scenario_sha256="5f" * 32,
        profile="cpu",
        seed=1,
        n_turns=None,
        settings=rows,
    )
    for place, row in enumerate(rows[:begun]):
        make.write_run(path / row.slug, some_turns(place, n), complete=complete)
    folder.write_sweep(path, record)
    return path
