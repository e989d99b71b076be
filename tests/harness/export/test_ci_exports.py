"""Runs for other houses: JUnit, Markdown, Parquet, and the schema of `run.json`."""

from __future__ import annotations

import io
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap import export
from turngap.export import junit, markdown, schema
from turngap.findings import summarise_findings
from turngap.model.finding import Finding, FindingKind
from turngap.model.recorded import ENDS_BY_HAND, FROM_RECORDINGS, RecordingSummary
from turngap.model.result import Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.store.folder import RunFolder, StoredRun
from turngap.verdict.budget import Budget, Limit, load_budget
from turngap_agent.errors import UsageError

from tests.harness import report_builders as builders

ROOT = Path(__file__).parents[3]
TURNS = [builders.turn(0), builders.turn(1, spans=False), builders.turn(2, outcome=Outcome.MISSED)]


def stored(turns: list[TurnRecord] = TURNS, **changes: object) -> StoredRun:
    return StoredRun(builders.run_record(turns).model_copy(update=changes), tuple(turns), ())


def folder(path: Path) -> Path:
    made = RunFolder.create(path, "run", builders.run_record(TURNS))
    made.append(TURNS)
    return made.path


def read_cases(text: str) -> dict[tuple[str, str], ElementTree.Element]:
    suite = ElementTree.fromstring(text).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    return {(case.get("classname", ""), case.get("name", "")): case for case in cases}


@pytest.mark.parametrize(
    ("verdict", "child"),
    [
        (Verdict.PASS, None),
        (Verdict.MEASURED, None),
        (Verdict.FAIL, "failure"),
        (Verdict.NOT_SHOWN, "failure"),
        (Verdict.INVALID, "error"),
    ],
)
def test_the_verdicts_case_fails_as_the_exit_code_says(verdict: Verdict, child: str | None) -> None:
    """INVALID is an error, FAIL and NOT SHOWN are failures; the suite counts them."""
    text = junit.render_junit(stored(verdict=verdict, sentence="because"))
    (case,) = (case for (group, _), case in read_cases(text).items() if group == "verdict")
    assert [element.tag for element in case] == [child or "system-out"]
    suite = ElementTree.fromstring(text)[0]
    assert int(suite.get("failures", "")) + int(suite.get("errors", "")) == (child is not None)


def test_what_a_recording_does_not_say_is_skipped() -> None:
    """As in the run's verdict: a cut-off is not known where ends of speech were found."""
    budget = Budget(name="mine", limits=(Limit(metric="cut_off_rate", at_most=0.5),))
    for sentence, known in ((FROM_RECORDINGS, False), (ENDS_BY_HAND, True)):
        run = stored(budget=budget, verdict=Verdict.INVALID, recording=RecordingSummary(sentence=sentence, calls=()))
        (case,) = (case for (group, _), case in read_cases(junit.render_junit(run)).items() if group == "limits")
        assert case[0].tag == "skipped", "by hand they are three turns, too few"
        assert ("ends of speech are found" in case[0].get("message", "")) is not known


def test_each_limit_and_each_outcome_is_a_case() -> None:
    """Three turns show no limit to be met, so each is a failure or skipped; an outcome's case lists its turns."""
    budget = load_budget("edge500-audio")
    cases = read_cases(junit.render_junit(stored(budget=budget, verdict=Verdict.NOT_SHOWN)))
    limits = {name: case for (group, name), case in cases.items() if group == "limits"}
    assert len(limits) == len(budget.limits)
    assert all(case[0].tag in ("failure", "skipped") for case in limits.values())
    outcomes = {name: case for (group, name), case in cases.items() if group.startswith("turns.")}
    assert {"answered", "missed"} <= set(outcomes)
    assert all([element.tag for element in case] == ["system-out"] for case in outcomes.values())
    assert TURNS[2].utterance_id in (outcomes["missed"][0].text or "")


@given(st.text(max_size=50))
def test_any_text_makes_xml_and_one_row_of_markdown(text: str) -> None:
    """Control characters, pipes and tags of a detail break neither."""
    turn = builders.turn(0).model_copy(update={"detail": text})
    run = stored([turn], sentence=text, notes=(text,))
    read_cases(junit.render_junit(run))
    page = markdown.render_markdown(run)
    assert "<script" not in page
    tables = [line for line in page.splitlines() if line.startswith("| ")]
    assert tables
    assert all(line.endswith(" |") for line in tables)


def test_the_page_has_the_verdict_and_the_figures() -> None:
    """Verdict, sentence, latencies, outcomes and stages; limits where there is a budget."""
    page = markdown.render_markdown(stored(verdict=Verdict.FAIL, sentence="p95 <is> 800|ms"))
    assert page.startswith("## ❌ FAIL: ")
    assert "p95 &lt;is&gt; 800\\|ms" in page
    for text in ("| perceived gap |", "| outcome |", "| stage, ms |"):
        assert text in page
    assert "| limit |" not in page
    assert "| limit |" in markdown.render_markdown(stored(budget=load_budget("edge500-audio")))


def test_the_page_says_what_came_back_wrong() -> None:
    """Each finding, with its remedy."""
    finding = Finding(kind=FindingKind.LINEAR_PCM, count=3)
    found = summarise_findings([TURNS[0].model_copy(update={"findings": (finding,)})])
    page = markdown.render_markdown(stored(findings=found))
    assert f"- {found[0].text}; {found[0].remedy}" in page.replace("\\", "")


def test_parquet_has_the_columns_of_the_csv_with_types(tmp_path: Path) -> None:
    """A gap is a number, and what is not known is null."""
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    import pandas as pd

    path = folder(tmp_path)
    frame = pd.read_parquet(io.BytesIO(export.export_bytes(path, "parquet")))
    heading = export.export_run(path, "csv").splitlines()[0].split(",")
    assert [name for name in frame.columns if name in heading] == list(frame.columns)
    assert str(frame["turn_gap_ms"].dtype) == "float64"
    assert frame["turn_gap_ms"].isna().tolist() == [False, False, True]
    with pytest.raises(UsageError, match="no text"):
        export.export_run(path, "parquet")


def test_parquet_without_its_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'turngap\[parquet\]'"):
        export.export_bytes(folder(tmp_path), "parquet")


def test_an_unknown_format_names_those_that_there_are(tmp_path: Path) -> None:
    """All of them."""
    with pytest.raises(UsageError, match="csv, parquet, perfetto, junit, markdown"):
        export.export_bytes(folder(tmp_path), "xlsx")


def test_a_stage_is_one_track(tmp_path: Path) -> None:
    """Events of one stage have one name in a call's process, whatever the activity."""
    trace = json.loads(export.export_run(folder(tmp_path), "perfetto"))
    begins = [event for event in trace["traceEvents"] if event["ph"] == "b"]
    stages = {(event["pid"], event["name"]) for event in begins if event["cat"] == "stage"}
    activities = {(event["pid"], event["args"]["activity"]) for event in begins if event["cat"] == "stage"}
    assert stages
    assert len(stages) <= len(activities)


def test_the_published_schema_is_current_and_real_outputs_fit_it() -> None:
    """docs/run.schema.json is that of the models; a run of today fits, an older one, and one with more keys."""
    jsonschema = pytest.importorskip("jsonschema", reason="in the dependency group `test`")
    published = (ROOT / "docs" / "run.schema.json").read_text("utf-8")
    assert published == schema.render_schema(), "run: python -m turngap.export.schema > docs/run.schema.json"
    validator = jsonschema.Draft202012Validator(json.loads(published))
    jsonschema.Draft202012Validator.check_schema(json.loads(published))
    today = json.loads(builders.run_record(TURNS).model_dump_json())
    older = json.loads((ROOT / "tests/harness/recorded/run-0df9552/run.json").read_text("utf-8"))
    for document in (today, older, today | {"added_later": 1}):
        validator.validate(document)
    broken = {key: value for key, value in today.items() if key != "verdict"}
    assert not validator.is_valid(broken)
    assert not validator.is_valid(today | {"n_turns": "three"})
