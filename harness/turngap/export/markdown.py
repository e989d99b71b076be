"""A run as a page of Markdown: the summary of a CI job, such as `$GITHUB_STEP_SUMMARY`, or a comment on a change."""

from __future__ import annotations

import html
from collections.abc import Sequence

from turngap_agent.errors import show_controls

from turngap.export.limits import judge_limits, name_limit
from turngap.model.figures import LatencyFigures
from turngap.model.result import RunRecord, Verdict
from turngap.report import held_up
from turngap.report.wording import OUTCOME, STAGE, ms
from turngap.store.folder import StoredRun

_SIGN = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.NOT_SHOWN: "❌", Verdict.INVALID: "⚠️", Verdict.MEASURED: "📏"}


def render_markdown(run: StoredRun) -> str:
    """Return the page: verdict, latencies, limits, outcomes, stages, and what to know of them."""
    record = run.record
    parts = [
        f"## {_SIGN[record.verdict]} {_escape(record.verdict.value)}: {_escape(record.scenario)}",
        _escape(record.sentence),
        _table(("ms", "p50", "p95", "p95 ≤", "max"), _latency_rows(record)),
        _table(
            ("limit", "", "what the turns show"),
            [(name_limit(limit), result.state.value, result.text) for limit, result in judge_limits(run)],
        ),
        _table(
            ("outcome", "turns"),
            [(OUTCOME[outcome][0], str(count)) for outcome, count in record.outcomes.items() if count],
        ),
        _table(
            ("stage, ms", "p50", "p95", "exposed p50", "exposed p95"),
            [
                (STAGE[stage][0], *map(ms, (row.p50_ms, row.p95_ms, row.exposed_p50_ms, row.exposed_p95_ms)))
                for stage, row in record.stages.items()
            ],
        ),
        "\n".join(f"- {_escape(text)}" for text in _remarks(record)),
        f"<sub>{_escape(f'run {record.run_id}, profile {record.profile}, started {record.started}')}</sub>",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _latency_rows(record: RunRecord) -> list[tuple[str, ...]]:
    measured: tuple[tuple[str, LatencyFigures | None], ...] = (
        ("perceived gap", record.perceived_gap_ms),
        ("perceived substance", record.perceived_substance_ms),
        ("turn gap", record.turn_gap_ms),
        ("substance gap", record.substance_gap_ms),
        ("first byte", record.first_byte_ms),
    )
    return [
        (name, *map(ms, (figures.p50, figures.p95, figures.p95_upper, figures.max)))
        for name, figures in measured
        if figures is not None
    ]


def _remarks(record: RunRecord) -> list[str]:
    checks = [f"{check.name}: {check.text}" for check in record.validity if check.ok is False]
    held = held_up.summarise(record.health)
    held_line = [f"held up: {held}"] if held else []
    reasons = [reason for reason in record.reasons if reason not in record.sentence]
    found = [f"{finding.text}; {finding.remedy}" for finding in record.findings]
    return [*reasons, *checks, *found, *held_line, *record.notes]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, "" without rows; figures are aligned to the right."""
    if not rows:
        return ""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(map(_escape, row))} |" for row in (head, rule, *rows))


def _escape(text: str) -> str:
    """Return text as one line without Markdown, HTML or control characters of its own."""
    line = html.escape(show_controls(" ".join(text.split())), quote=False)
    return "".join(f"\\{sign}" if sign in "|*_`[]\\#" else sign for sign in line)
