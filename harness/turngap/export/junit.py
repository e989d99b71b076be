"""A run as JUnit XML, for the test reports of CI systems.

One test case for the verdict, one for each limit of the budget, and one for each class of turns and outcome. The
verdict's case fails exactly where the run's exit code is not 0; a limit's if it is shown to be missed, or not shown.
Cases of outcomes never fail: how many of them are allowed is what limits say.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict

from turngap.export.limits import judge_limits, name_limit
from turngap.model.plural import plural
from turngap.model.result import RunRecord, Verdict
from turngap.model.turn import TurnRecord
from turngap.store.folder import StoredRun
from turngap.verdict.limits import LimitResult, LimitState

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can't contain (section 2.2)."""


def render_junit(run: StoredRun) -> str:
    """Return the XML document."""
    root = ElementTree.Element("testsuites", name="turngap")
    suite = ElementTree.SubElement(root, "testsuite", name=_clean(run.record.run_id))
    suite.set("timestamp", _clean(run.record.started[:19]))
    suite.set("time", f"{run.record.duration_s:.3f}")
    _add_verdict(suite, run.record)
    for limit, result in judge_limits(run):
        _add_limit(suite, name_limit(limit), result)
    _add_outcomes(suite, run)
    cases = suite.findall("testcase")
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _add_verdict(suite: ElementTree.Element, record: RunRecord) -> None:
    case = _add_case(suite, "verdict", f"budget {record.budget.name}" if record.budget is not None else "measured")
    reasons = "\n".join([record.sentence, *record.reasons])
    if record.verdict is Verdict.INVALID:
        _add_child(case, "error", record.sentence, reasons, record.verdict)
    elif record.verdict.exit_code:
        _add_child(case, "failure", record.sentence, reasons, record.verdict)
    else:
        _add_text(case, "system-out", reasons)


def _add_limit(suite: ElementTree.Element, name: str, result: LimitResult) -> None:
    case = _add_case(suite, "limits", name)
    text = "\n".join(filter(None, [result.text, result.remedy]))
    if result.state in (LimitState.OVER, LimitState.NEITHER):
        _add_child(case, "failure", result.text, text, result.state)
    elif result.state is LimitState.NOT_JUDGED:
        _add_child(case, "skipped", result.text, text, result.state)
    else:
        _add_text(case, "system-out", text)


def _add_outcomes(suite: ElementTree.Element, run: StoredRun) -> None:
    groups: dict[tuple[str, str], list[TurnRecord]] = defaultdict(list)
    for turn in run.turns:
        if turn.scored:
            groups[turn.stratum or "turns", turn.outcome.value].append(turn)
    for (stratum, outcome), turns in sorted(groups.items()):
        case = _add_case(suite, f"turns.{stratum}", outcome)
        case.set("time", f"{sum(turn.turn_gap_ms or 0 for turn in turns) / 1000:.3f}")
        lines = [f"{turn.utterance_id}: {turn.detail}" if turn.detail else turn.utterance_id for turn in turns]
        _add_text(case, "system-out", "\n".join([plural(len(turns), "turn"), *lines]))


def _add_case(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_clean(classname), name=_clean(name))


def _add_child(case: ElementTree.Element, tag: str, message: str, text: str, kind: str) -> None:
    ElementTree.SubElement(case, tag, message=_clean(message), type=_clean(str(kind))).text = _clean(text)


def _add_text(case: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(case, tag).text = _clean(text)


def _clean(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
