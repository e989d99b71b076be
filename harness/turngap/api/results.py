"""What the functions of the API return: a run, a sweep, a comparison of two runs."""

from __future__ import annotations

import html
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turngap_agent.errors import RunFolderError, TurngapError

from turngap import report
from turngap.api.folders import find_report_path, find_run
from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import TurnRecord
from turngap.session import run_record
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.sweeps import folder as sweep_folder
from turngap.sweeps import page as sweep_page
from turngap.sweeps.folder import SweepRecord
from turngap.verdict import comparison, gate, speech, summary
from turngap.verdict.budget import Budget
from turngap.verdict.comparison import Change, LatencyChange, MeasureChange
from turngap.verdict.gate import Evidence

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """A run: its record, its turns and its report. It is read from its folder, which is the product."""

    def __init__(self, folder: Path | str, *, error: TurngapError | None = None, interrupted: bool = False) -> None:
        """Read the run in `folder`, a path or the id of a run under `results/`.

        Raises:
            RunFolderError: there is no such run, or its folder is damaged.
        """
        self.path = find_run(folder)
        """The run's folder."""
        stored = store.read_run(self.path)
        self.record: RunRecord = stored.record
        """`run.json`; docs/run-folder.md describes it."""
        self.turn_records: tuple[TurnRecord, ...] = stored.turns
        """`turns.jsonl`, warm-up turns included."""
        self.error = error
        """What ended the run early, if anything did; known to the process that ran it only."""
        self.interrupted = interrupted
        """True where the user ended the run."""

    @property
    def id(self) -> str:
        """The run's id, which is the name of its folder."""
        return self.record.run_id

    @property
    def verdict(self) -> Verdict:
        """PASS, FAIL, NOT SHOWN, INVALID or MEASURED; `verdict.exit_code` is that of the command."""
        return self.record.verdict

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a latency (`turn_gap`, `perceived_gap`, ...): `turns`, `p50_ms`, `p95_ms`, `p95_upper_ms`, ..."""
        from turngap.api import tables

        return tables.make_summary_frame(self.record)

    @cached_property
    def turns(self) -> pd.DataFrame:
        """One row a turn, warm-up included: `utterance_id`, `scored`, `outcome`, `turn_gap_ms`, ..."""
        from turngap.export.frame import make_turn_frame

        return make_turn_frame(self.turn_records)

    @cached_property
    def stages(self) -> pd.DataFrame:
        """One row a stage: `turns`, `p50_ms`, `p95_ms`, `exposed_p50_ms`, `exposed_p95_ms`, `slack_p50_ms`, ..."""
        from turngap.api import tables

        return tables.make_stage_frame(self.record)

    def report(self, out: Path | str | None = None, *, baseline: Run | Path | str | None = None) -> Path:
        """Render the HTML report, beside the run `baseline` if there is one, and return its file.

        Without `out` it is the file of `find_report_path`. A run that was killed is judged by the turns it has, and the
        verdict is written into its folder.

        Raises:
            RunFolderError: the baseline is no run, or damaged.
            HarnessError: the report cannot be written.
        """
        base = baseline.path if isinstance(baseline, Run) else None if baseline is None else find_run(baseline)
        self._judge_if_killed()
        file = find_report_path(self.path) if out is None else Path(out)
        report.render_report(self.path, file, base)
        return file

    def _judge_if_killed(self) -> None:
        record = self.record
        scored = sum(turn.scored for turn in self.turn_records)
        # A run that an error ended has its verdict, with the error in it; only one that was killed is judged here.
        if record.complete or (record.validity and scored == record.n_turns):
            return
        budget = Budget.model_validate(record.budget) if record.budget else None
        weightless = bool(record.profile_data.get("weightless"))
        resume = f"`{store.resume_command(self.path)}` places its missing calls"
        remedy = "run `turngap smoke` again" if record.resume_state.live else resume
        evidence = Evidence(record.planned_turns, complete=False, weightless=weightless, completion=remedy)
        judged = gate.judge_run(self.turn_records, evidence, budget, record.stopping_plan)
        verdict = {
            "verdict": judged.verdict,
            "sentence": run_record.with_caveat(run_record.name_speech_of(judged, record.corpus), record.profile_data),
            "reasons": judged.reasons,
            "validity": judged.checks,
        }
        self.record = summary.recompute_figures(record, self.turn_records).model_copy(update=verdict)
        for frame in ("summary", "turns", "stages"):
            self.__dict__.pop(frame, None)  # made from the record as it was
        RunFolder(self.path).write(self.record)

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.verdict}: {self.record.sentence}>"

    def _repr_html_(self) -> str:
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in self.record.reasons)
        return (
            f"<p><b>{self.verdict}</b> {html.escape(self.record.sentence)}</p>"
            f"{f'<ul>{reasons}</ul>' if reasons else ''}"
            f"{self.summary.to_html(float_format='{:.0f}'.format, na_rep='–')}"
            f"<p>{html.escape(self.id)}, {self.record.n_turns} scored turns, in {html.escape(str(self.path))}</p>"
        )


class Sweep:
    """A sweep: several settings of one profile, measured side by side."""

    def __init__(self, folder: Path | str, *, error: TurngapError | None = None) -> None:
        """Read the sweep in `folder`, a path or the id of a sweep under `results/`.

        Raises:
            RunFolderError: there is no such sweep, or its folder is damaged.
        """
        self.path = find_run(folder, "sweep")
        """The sweep's folder, with a run folder for each setting."""
        self.record: SweepRecord = sweep_folder.updated_record(self.path, sweep_folder.read_sweep(self.path))
        """`sweep.json`, its figures made anew from the runs."""
        self.error = error
        """What ended the sweep early, if anything did; known to the process that ran it only."""

    @cached_property
    def runs(self) -> Mapping[str, Run]:
        """The runs that were started, by the name of their setting."""
        return {point.name: Run(self.path / point.slug) for point in self.record.points}

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a setting: `turns`, `answered`, `p50_ms` and `p95_ms` of the turn gap, `cut_off_rate`, its bound."""
        import pandas as pd

        rows = [
            {
                "turns": point.n_turns,
                "answered": point.answered,
                "p50_ms": point.turn_gap_ms.p50,
                "p95_ms": point.turn_gap_ms.p95,
                "cut_off_rate": point.cut_off_rate.rate,
                "cut_off_rate_upper": point.cut_off_rate.upper,
                "on_front": point.on_front,
            }
            for point in self.record.points
        ]
        return pd.DataFrame(rows, index=pd.Index([point.name for point in self.record.points], name="setting"))

    def report(self, out: Path | str | None = None) -> Path:
        """Render the HTML report and return its file; without `out` it is the file of `find_report_path`.

        Raises:
            HarnessError: the report cannot be written.
        """
        file = find_report_path(self.path) if out is None else Path(out)
        sweep_page.write_sweep_page(self.path, file)
        return file

    def __repr__(self) -> str:
        state = "" if self.record.complete else ", unfinished"
        return f"<Sweep {self.record.sweep_id}: {len(self.record.settings)} settings of {self.record.profile}{state}>"

    def _repr_html_(self) -> str:
        table = self.summary.to_html(float_format="{:.3g}".format, na_rep="–")
        return f"<p><b>{html.escape(self.record.sweep_id)}</b></p>{table}"


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs compared: what became slower or worse, what faster or better."""

    head: str
    """The id of the run that is compared ..."""
    base: str
    """... and of the one that it is compared with."""
    change: Change
    """The finding: slower or worse if any measure is; the same only if all are."""
    sentence: str
    """The finding in one sentence that names the measures behind it."""
    measures: tuple[MeasureChange, ...]
    """Centre and tail of the latencies, slow turns, outcomes and words."""
    rows: tuple[LatencyChange, ...]
    """The median turn gap, then the median exposed time of each stage."""
    notes: tuple[str, ...] = field(default=())
    """What else differs between the runs, a sentence each."""

    @property
    def findings(self) -> pd.DataFrame:
        """One row a measure: the figure of either run, the change with its 95 % interval, tolerance and finding."""
        import pandas as pd

        columns = ("base", "head", "difference", "low", "high", "tolerance")
        cells = [
            {name: getattr(row, name) for name in columns} | {"change": row.change.value, "turns": row.turns}
            for row in self.measures
        ]
        return pd.DataFrame(cells, index=pd.Index([row.name for row in self.measures], name="measure"))

    @property
    def table(self) -> pd.DataFrame:
        """One row a latency: change of the median with its 95 % interval in ms, and `change`, what it amounts to."""
        import pandas as pd

        names = ["turn_gap" if row.stage is None else row.stage.value for row in self.rows]
        cells = [
            {
                "change_ms": row.found.median_change_ms,
                "low_ms": row.found.low_ms,
                "high_ms": row.found.high_ms,
                "change": row.found.change.value,
                "turns": row.turns,
            }
            for row in self.rows
        ]
        return pd.DataFrame(cells, index=pd.Index(names, name="latency"))

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as `turngap compare --json` prints it."""
        return {
            "head": self.head,
            "base": self.base,
            "change": self.change.value,
            "sentence": self.sentence,
            "notes": list(self.notes),
            "measures": [row.to_json() for row in self.measures],
            "rows": [row.to_json() for row in self.rows],
        }

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        tables = (frame.to_html(float_format="{:+.3g}".format, na_rep="–") for frame in (self.findings, self.table))
        return f"<p><b>{html.escape(self.sentence)}</b></p>{''.join(tables)}<ul>{notes}</ul>"


def compare_runs(head: Run, base: Run) -> RunComparison:
    """Compare `head` with `base`.

    Raises:
        RunFolderError: one of them has no answered turns.
    """
    for run in (head, base):
        if not any(turn.scored and turn.is_good for turn in run.turn_records):
            raise RunFolderError(
                f"no answered turns in {run.path}: there is nothing to compare; `turngap report "
                f"{shlex.quote(str(run.path))}` shows its outcomes",
                code="run-folder.no-answers",
            )
    budget = head.record.budget if head.record.budget is not None else base.record.budget
    found = comparison.compare_turns(head.turn_records, base.turn_records, budget)
    notes = comparison.make_notes(found, head.record, base.record)
    sentence = speech.name_both(found.sentence, head.record.corpus, base.record.corpus)
    return RunComparison(head.id, base.id, found.change, sentence, found.measures, found.rows, notes)
