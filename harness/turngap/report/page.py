"""The report of a run as one HTML page: collects everything that the template shows."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from turngap.model.plural import plural
from turngap.model.result import Check
from turngap.model.turn import Outcome, TurnRecord
from turngap.report import (
    audio,
    charts,
    conversation,
    data,
    first_change,
    floors,
    headline,
    held_up,
    ledger,
    machine,
    other_runs,
    resources,
    stage_table,
    substance,
    template,
    waterfall,
    wording,
)
from turngap.verdict import summary
from turngap.verdict.networks import group_by_network

MOST_WORDS = 200
"""With more turns, the table shows the words of failed turns only: a page must stay small."""


def write_run_page(path: Path, out: Path, baseline: Path | None = None) -> None:
    """Render the run in folder `path` to the file `out`, against the run in folder `baseline` if there is one.

    Raises:
        RunFolderError: a folder contains no run that this version can read.
        UsageError: `out` cannot be written.
        HarnessError: the disk is full.
    """
    template.write_page(out, render_run_page(data.read_report_data(path), baseline, out.parent))


def render_run_page(run: data.ReportData, baseline: Path | None = None, report_folder: Path | None = None) -> str:
    """Return the page; `report_folder` is where it will lie, for links to the run's traces."""
    script = template.read_asset("report.js")
    return (
        template.template_environment("report")
        .get_template("report.html.j2")
        .render(
            **_context(run),
            machine=machine.make_machine_section(run.record, run.turns, run.stages, run.path, report_folder),
            **_comparison_context(run, baseline),
            style=template.style_sheet(),
            script=Markup(script),  # our own file
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        )
    )


def _context(run: data.ReportData) -> dict[str, Any]:
    record, turns = run.record, run.turns
    scored = summary.valid_turns(turns)
    limit = stage_table.reference_line(record)
    typical, worst = summary.representative_turn(turns), summary.worst_turn(turns)
    notes = [*record.notes, *run.notes]
    ordered = _in_order_of_interest(typical, worst, turns)
    groups = group_by_network(turns, list(record.networks))
    return {
        "run": record,
        "reasons": [reason for reason in record.reasons if reason not in record.sentence],
        "intervals": wording.interval_lines(record.intervals),
        "verdict_class": record.verdict.value.lower().replace(" ", "-"),
        "figures": headline.list_latencies(record),
        "line": limit,
        "network_text": wording.network_text,
        "what_if": wording.what_if_text(record.telephone) if record.telephone is not None else "",
        "every_turn": charts.draw_every_turn(record, turns) if scored else None,
        "in_order": charts.draw_in_order(record, turns) if len(turns) > 1 else None,
        "turns_lost": sum(gap is None for gap in summary.perceived_gaps(scored)),
        "turns_invalid": sum(t.scored and t.outcome is Outcome.INVALID for t in turns),
        "networks": groups,
        "network_chart": charts.draw_networks(groups, limit) if any(group.turns for group in groups) else None,
        "outcome_counts": wording.outcome_counts_text,
        "waterfalls": waterfall.waterfall_figures(typical, worst, floors.compute_distances(run.stages)),
        "activity_words": wording.ACTIVITY,
        "no_stages": next((t.stages_note for t in scored if t.stages_note), ""),
        "lines": stage_table.plan_rows(record, turns),
        "changes": first_change.rank_changes(record, turns),
        "unresolved": stage_table.list_unresolved(record),
        "line_ms": f"{limit.at_ms:g}",
        "budgeted": limit.is_budget,
        "tiles": headline.list_tiles(record),
        "hidden": any(figures.hidden_p50_ms is not None for figures in record.stages.values()),
        "explained": sum(t.stages is not None for t in scored if t.is_good),
        "checks": record.validity,
        "check_words": _check_words,
        "outcomes": headline.list_outcome_rates(record, turns),
        "talk": conversation.conversation_section(record, turns),
        "substance": substance.substance_section(record, turns) if record.recording is None else None,
        "rates": headline.list_rates(record),
        "gpu_chart": resources.draw_gpu_memory(run.gpu, record.gpus, turns)
        if run.gpu is not None and record.gpus
        else None,
        "gpu_shared": wording.gpu_sharing_text(record.agent),
        "gpu_checks": [check for check in record.validity if check.name.startswith("GPU")],
        "memory_rows": resources.memory_rows(record.agent.memory_mib, record.gpus[0], record.agent.kv_cache)
        if record.gpus
        else (),
        "memory_accounted": resources.accounted_share(record.agent.memory_mib, record.gpus[0]) if record.gpus else None,
        "gb": lambda mib: f"{mib / resources.MIB_PER_GB:.1f}",
        "process_chart": resources.draw_process(run.process) if run.process is not None else None,
        "players": audio.make_players(run.path, ordered, notes),
        "wave": {"width": audio.WIDTH, "height": 2 * audio.LANE},
        "rows": _turn_rows(turns, limit),
        "outcome_words": wording.OUTCOME,
        "plural": plural,
        "environment": list(_flatten(record.environment)),
        "profile": list(_flatten(record.profile_data)),
        "notes": notes,
        "json": template.embed_json(record.model_dump(mode="json")),
    }


def _comparison_context(run: data.ReportData, baseline: Path | None) -> dict[str, Any]:
    past = other_runs.earlier_runs(run.path, run.record, run.turns)
    return {
        "entries": ledger.list_entries(run.path, run.record),
        "history": past,
        "history_chart": other_runs.draw_history(past, stage_table.reference_line(run.record)) if past else None,
        "baseline": other_runs.compare_with_baseline(run.record, run.turns, baseline) if baseline is not None else None,
        "stage_words": wording.STAGE,
    }


def _check_words(check: Check) -> tuple[str, str, str]:
    text = check.text.removeprefix(f"{check.name}: ")
    if check.ok is None:
        return ("warn", "warning", text) if check.warning else ("none", "not judged", text)
    return ("ok", "holds", text) if check.ok else ("bad", "fails", text)


def _turn_rows(turns: Sequence[TurnRecord], line: stage_table.ReferenceLine) -> Iterator[dict[str, Any]]:
    wordy = len(turns) <= MOST_WORDS
    for number, turn in enumerate(turns, 1):
        stages = turn.stages or {}
        slowest = max(stages, key=lambda stage: stages[stage].exposed_ms, default=None)
        shows_words = wordy or not turn.is_good
        yield {
            "number": number,
            "turn": turn,
            "outcome": wording.OUTCOME[turn.outcome][0],
            "kind": _kind(turn),
            "over": not turn.is_good or line.is_over(line.gap_ms(turn)),
            "longest": f"{wording.STAGE[slowest][0]} {wording.ms(stages[slowest].exposed_ms)}" if slowest else "",
            "heard": _shorten(turn.transcript) if shows_words else "",
            "reply": _shorten(turn.reply) if shows_words else "",
            "shows_words": shows_words,
            "content": _describe_content(turn),
            "held": held_up.describe_turn(turn.health),
        }


def _describe_content(turn: TurnRecord) -> str:
    """Return when content was heard after what filler; "" where the first sound was content, or nothing is known."""
    if not turn.contentless or turn.substance_gap_ms is None:
        return ""
    return f"content at {wording.ms(turn.substance_gap_ms)} ms, after “{turn.contentless}”"


def _kind(turn: TurnRecord) -> str:
    """Return why a turn is not scored; "" for a scored one."""
    kinds = {
        "warm-up": turn.warm_up,
        "lead-in": turn.lead_in,
        "cold": turn.cold,
        "called again": turn.replaced,
        "after the decision": turn.overshoot,
        "not scored": not turn.scored,
    }
    return next((kind for kind, applies in kinds.items() if applies), "")


def _shorten(text: str | None, most: int = 120) -> str:
    text = text or ""
    return text if len(text) <= most else text[: most - 1] + "…"


def _in_order_of_interest(
    typical: TurnRecord | None, worst: TurnRecord | None, turns: Sequence[TurnRecord]
) -> list[TurnRecord]:
    """Return the representative turn, the worst, then all failures, then the rest."""
    first = [turn for turn in (typical, worst) if turn is not None]
    failures = [turn for turn in turns if not turn.is_good]
    return list({(turn.call, turn.turn): turn for turn in (*first, *failures, *turns)}.values())


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key} · ")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value)
        else:
            yield f"{prefix}{key}", wording.NONE if value is None else str(value)
