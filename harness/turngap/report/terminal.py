"""A run's figures for the terminal: verdict, latencies, stages and outcomes as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text
from turngap_agent.tracing import Stage

from turngap.model.figures import LatencyFigures
from turngap.model.plural import plural
from turngap.model.recorded import RecordingSummary
from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.report import conversation, held_up, stage_table, wording
from turngap.report.first_change import rank_changes
from turngap.report.wording import (
    OUTCOME,
    STAGE,
    bound_text,
    gpu_sharing_text,
    interval_text,
    join_words,
    ms,
    outcome_counts_text,
    percent,
)
from turngap.verdict.networks import group_by_network

CONVERSATION_WIDTH = 42
_COLOUR = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.NOT_SHOWN: "red",
    Verdict.INVALID: "yellow",
    Verdict.MEASURED: "blue",
}


def print_summary(record: RunRecord, console: Console, turns: Sequence[TurnRecord] = ()) -> None:
    """Print the run's figures, as plain text if the console is no terminal; figures by network need `turns`."""
    console.print()
    _latencies(record, console)
    if record.stages:
        _print_stages(record, console)
    _print_changes(record, turns, console)
    _networks(record, turns, console)
    _print_groups(record, console)
    for name, text in _facts(record, turns):
        console.print(Text.assemble((f"{name:<13}", "dim"), text), soft_wrap=True)
    for name, text in conversation.terminal_lines(record):
        console.print(Text.assemble((f"{name:<{CONVERSATION_WIDTH}}", "dim"), text), soft_wrap=True)
    printed = [record.sentence]
    for check in record.validity:
        if (check.ok is False and check.text not in record.sentence) or check.warning:
            printed.append(check.text)
            word = "warning" if check.warning else "not valid"
            console.print(Text.assemble((f"{word:<13}", "yellow"), f"{check.name}: {check.text}"), soft_wrap=True)
    for finding in record.findings:
        text = f"{finding.text}; {finding.remedy}"
        if not any(text in line for line in printed):
            console.print(Text.assemble((f"{'came back':<13}", "yellow"), text), soft_wrap=True)
    for note in record.notes:
        console.print(Text.assemble((f"{'note':<13}", "dim"), note), soft_wrap=True)
    console.print()
    console.print(Text.assemble((record.verdict.value, f"bold {_COLOUR[record.verdict]}"), "  ", record.sentence))
    for reason in record.reasons:
        if not any(reason in line for line in printed):
            console.print(Text(f"  {reason}"), soft_wrap=True)


def _latencies(record: RunRecord, console: Console) -> None:
    measured: tuple[tuple[str, LatencyFigures | None], ...] = (
        ("perceived gap", record.perceived_gap_ms),
        ("perceived substance", record.perceived_substance_ms),
        ("turn gap", record.turn_gap_ms),
        ("substance gap", record.substance_gap_ms),
        ("turn gap, by frame", record.turn_gap_frame_ms),
        ("first byte", record.first_byte_ms),
    )
    rows = (
        (name, figures) for name, figures in measured if figures is not None and (figures.n or not record.recording)
    )
    table = _table("ms", "p50", "p95", "p95 ≤", "max")
    for name, figures in rows:
        cells = (figures.p50, figures.p95, figures.p95_upper, figures.max)
        table.add_row(name, *(ms(value) for value in cells), style="bold" if name == "perceived gap" else "")
    console.print(table)
    bound = bound_text(record.turn_gap_ms, record.outcomes.get(Outcome.ANSWERED, 0))
    if record.turn_gap_ms.n and record.turn_gap_ms.p95_upper is None:
        console.print(Text.assemble((f"{'p95 ≤':<13}", "dim"), bound), soft_wrap=True)


def _print_stages(record: RunRecord, console: Console) -> None:
    has_hidden = any(figures.hidden_p50_ms is not None for figures in record.stages.values())
    table = _table(
        "stage, ms", "p50", "p95", *(["hidden p50"] if has_hidden else []), "exposed p50", "exposed p95", "share"
    )
    gap = record.turn_gap_ms.p50
    for stage in Stage:
        figures = record.stages.get(stage)
        if figures is not None:
            share = percent(figures.exposed_p50_ms / gap, 0) if gap else ""
            hidden = [figures.hidden_p50_ms] if has_hidden else []
            values = (figures.p95_ms, *hidden, figures.exposed_p50_ms, figures.exposed_p95_ms)
            off = f" ±{ms(figures.uncertainty_ms)}" if figures.uncertainty_ms else ""
            table.add_row(STAGE[stage][0], ms(figures.p50_ms) + off, *(ms(value) for value in values), share)
    console.print(table)


def _print_changes(record: RunRecord, turns: Sequence[TurnRecord], console: Console) -> None:
    """Print what to change first, and the stages that are smaller than their uncertainty."""
    for stage in stage_table.list_unresolved(record):
        console.print(Text.assemble((f"{'uncertain':<13}", "dim"), stage), soft_wrap=True)
    for place, change in enumerate(rank_changes(record, turns)):
        name = "change first" if place == 0 else "then"
        console.print(Text.assemble((f"{name:<13}", "dim"), change.sentence), soft_wrap=True)


def _print_groups(record: RunRecord, console: Console) -> None:
    """Print the turn gap by stratum and by depth in the call, answered turns and cut-offs apart."""
    if not (record.strata or record.depths):
        return
    table = _table("turn gap, ms", "n", "answered", "their p50", "their p95", "cut off")
    table.add_column("at most", justify="right", no_wrap=True)
    for name, group in (*record.strata.items(), *record.depths.items()):
        rate = group.cut_off_rate
        cells = (ms(group.answered_p50_ms), ms(group.answered_p95_ms), str(rate.events), percent(rate.upper))
        table.add_row(name, str(group.turn_gap_ms.n), str(group.answered), *cells)
    console.print(table)


def _networks(record: RunRecord, turns: Sequence[TurnRecord], console: Console) -> None:
    groups = group_by_network(turns, list(record.networks)) if len(record.networks) > 1 else ()
    if not groups:
        return
    table = _table("perceived gap on network, ms", "n", "p50", "p95", "later", "transport in", "transport out")
    table.add_column("outcomes", overflow="fold")
    for group in groups:
        ways = (group.stages.get(stage) for stage in (Stage.TRANSPORT_IN, Stage.TRANSPORT_OUT))
        cells = (group.perceived_gap_ms.p50, group.perceived_gap_ms.p95)
        exposed = (None if way is None else way.exposed_p50_ms for way in ways)
        later = " ".join(part for part in (ms(group.later_ms), interval_text(group.later_between_ms)) if part)
        row = (str(len(group.turns)), *map(ms, cells), later, *map(ms, exposed))
        table.add_row(group.name, *row, outcome_counts_text(group.outcomes))
    console.print(table)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _called_again(turns: int) -> str:
    return f"{plural(turns, 'turn')} that the instrument spoilt {'is' if turns == 1 else 'are'} set aside"


def _facts(record: RunRecord, turns: Sequence[TurnRecord] = ()) -> list[tuple[str, str]]:
    counts = [f"{record.outcomes[kind]} {OUTCOME[kind][0]}" for kind in Outcome if record.outcomes.get(kind)]
    aside = sum(turn.replaced for turn in turns)
    return [
        ("outcomes", f"{plural(record.n_turns, 'turn')}: {join_words(counts) or 'none'}"),
        *([("stopped", record.stopped_early)] if record.stopped_early else []),
        *([("called again", _called_again(aside))] if aside else []),
        *wording.interval_lines(record.intervals),
        *(_of_agent(record) if record.recording is None else _of_recording(record.recording)),
        ("cut-offs", conversation.rate_text(record.cut_off_rate)),
        *_telephone(record),
        *([("attempt", record.ledger.sentence)] if record.ledger is not None and record.ledger.number else []),
        *([("cost", wording.cost_text(record.cost))] if record.cost is not None else []),
        *([("energy", energy)] if (energy := held_up.format_energy(record.energy)) else []),
        *([("held up", held.replace("`", ""))] if (held := held_up.summarise(record.health)) else []),
        *([("traces", join_words([trace.file for trace in record.traces]))] if record.traces else []),
        *([("GPU shared", shared)] if (shared := gpu_sharing_text(record.agent)) else []),
    ]


def _of_agent(record: RunRecord) -> list[tuple[str, str]]:
    gpus = [f"{gpu.name} peak {gpu.used_peak_mib:,.0f} MiB" for gpu in record.gpus or ()]
    return [
        ("WER", _wer(record)),
        ("underruns", conversation.rate_text(record.underrun_rate)),
        ("agent", _agent(record)),
        ("GPU", join_words(gpus) or "none"),
    ]


def _of_recording(recording: RecordingSummary) -> list[tuple[str, str]]:
    if recording.gap_uncertainty_ms is None:
        return []
    return [("ends", f"found: a gap is firm to {ms(recording.gap_uncertainty_ms)} ms either way (median)")]


def _telephone(record: RunRecord) -> list[tuple[str, str]]:
    """Return what the telephone network adds, and what another one would do."""
    if record.telephone is None:
        return []
    what_if = wording.what_if_text(record.telephone)
    text = wording.network_text(record.telephone)
    return [("telephone", f"{text}; {what_if}" if what_if else text)]


def _agent(record: RunRecord) -> str:
    agent = record.agent
    known = [
        f"peak {agent.rss_mib:,.0f} MiB" if agent.rss_mib is not None else "",
        f"{agent.cpu_s:.1f} s of processor" if agent.cpu_s is not None else "",
        f"loop lag p99 {ms(agent.loop_lag_p99_ms)} ms" if agent.loop_lag_p99_ms is not None else "",
    ]
    external = "external; its process is not measured" if record.stages else "external; no stage data"
    return ", ".join(item for item in known if item) or f"{agent.url} ({external})".strip()


def _wer(record: RunRecord) -> str:
    if record.wer is None:
        return "no transcripts"
    bound = "" if record.wer_upper is None else f" (at most {percent(record.wer_upper)} with 95 % confidence)"
    return percent(record.wer) + bound
