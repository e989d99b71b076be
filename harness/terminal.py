"""A run's figures for the terminal: one table, the sentence, what stands against it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from harness.result import Figures, RunRecord


def show(record: RunRecord, console: Console) -> None:
    """Print the figures of a run."""
    table = Table(title=f"{record.scenario}, profile {record.profile}: {record.n_turns} turns", title_justify="left")
    for heading in ("ms", "p50", "p95", "p95 at most", "max"):
        table.add_column(heading, justify="left" if heading == "ms" else "right")
    for name, figures in (
        ("turn gap", record.turn_gap_ms),
        (f"perceived gap (+{record.network_ms:g})", record.perceived_gap_ms),
        ("first byte", record.first_byte_ms),
    ):
        table.add_row(name, *_cells(figures))
    if record.stages:
        table.add_section()
    for stage, times in record.stages.items():
        name = f"{stage.value.replace('_', ' ')}, exposed"
        table.add_row(name, f"{times.exposed_p50_ms:.0f}", f"{times.exposed_p95_ms:.0f}", "", "")
    console.print(table)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in record.outcomes.items()) or "none"
    _line(console, f"outcomes: {outcomes}")
    _line(console, f"word error rate: {'not known' if record.wer is None else f'{record.wer:.1%}'}")
    if record.corpus.synthetic:
        _line(console, f"synthetic caller's voice: {record.corpus.synthetic} of {record.corpus.distinct_utterances}")
    for note in record.notes:
        _line(console, f"note: {note}")
    for check in record.validity:
        if check.ok is False:
            _line(console, f"{check.name}: {check.text}")
    _line(console, f"{record.verdict}: {record.sentence}")


def ms(value: float | None) -> str:
    """A time in whole ms, or a dash."""
    return "–" if value is None else f"{value:.0f}"


def _cells(figures: Figures) -> tuple[str, str, str, str]:
    return ms(figures.p50), ms(figures.p95), ms(figures.p95_upper), ms(figures.max)


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
