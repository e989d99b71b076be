"""What came back, in the report and in the terminal: each finding once, with its remedy, and safe."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from turngap.findings import summarise_findings
from turngap.model.finding import Finding, FindingKind, RunFinding
from turngap.model.result import Check
from turngap.report.data import read_report_data
from turngap.report.page import render_run_page
from turngap.report.terminal import print_summary

from tests.harness import report_builders as make

FOUND = (Finding(kind=FindingKind.ALAW, count=7), Finding(kind=FindingKind.NO_MARKS, count=1))


def _findings() -> tuple[RunFinding, ...]:
    return summarise_findings([make.turn(index, findings=FOUND) for index in range(2)])


def _print_terminal(**changes: object) -> str:
    target = io.StringIO()
    print_summary(make.run_record(make.turns(5), **changes), Console(file=target, width=100))
    return target.getvalue()


def test_the_terminal_says_each_finding_once_with_its_remedy() -> None:
    """One line a kind with the counts of all calls; a check that says it already is not repeated."""
    alaw, marks = _findings()
    assert alaw.text.startswith("A-law was sent as μ-law in 14 messages")
    text = _print_terminal(findings=(alaw, marks))
    for finding in (alaw, marks):
        assert text.count(f"{finding.text}; {finding.remedy}") == 1
    assert text.count("came back") == 2
    said = Check(name="sound", ok=None, text=f"{alaw.text}; {alaw.remedy}", warning=True)
    text = _print_terminal(findings=(alaw, marks), validity=(said,))
    assert text.count(alaw.text) == 1
    assert text.count("came back") == 1
    assert "came back" not in _print_terminal()


def test_the_report_has_a_section_of_what_came_back(tmp_path: Path) -> None:
    """A list of them under its heading; without any there is no section; text is text."""
    hostile = _findings()[0].model_copy(update={"text": "<script>alert(1)</script>"})
    turns = make.turns(5)
    findings = (*_findings(), hostile)
    folder = make.write_run(tmp_path / "run", turns, findings=findings)
    text = render_run_page(read_report_data(folder))
    (section,) = re.findall(r'<section aria-labelledby="h-findings">(.*?)</section>', text, re.DOTALL)
    assert "What came back" in section
    assert section.count("<li>") == 3
    assert f"{findings[1].text.capitalize()}. <strong>Remedy:</strong> {findings[1].remedy}." in section
    assert "<script>" not in section
    assert "&lt;script&gt;" in section
    plain = make.write_run(tmp_path / "plain", turns)
    assert "h-findings" not in render_run_page(read_report_data(plain))
