"""The report of a capacity run: chart, table, steps, the caller's proof; several side by side; in a browser too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from turngap.capacity import charts, folder, page, shapes
from turngap.capacity.points import Decision, PhaseFigures, Recovery, Sign, SignKind, UnderWay
from turngap.capacity.search import Search, Step
from turngap.cli import app
from turngap.model.figures import LatencyFigures
from turngap_agent.errors import RunFolderError

from tests.harness.capacity.builders import caller, latency, point, record


def searched() -> folder.CapacityRecord:
    """A search with a saturated step and an invalid one."""
    search = Search(first=2, ceiling=8)
    for calls, decision in ((2, Decision.HOLDS), (4, Decision.DOES_NOT_HOLD), (3, Decision.NOT_SHOWN)):
        search.add(Step(calls=calls, decision=decision, sentence=f"by <{calls}>", turns=90))
    full = (Sign(kind=SignKind.CORES, text="99% of the time of 2 cores was used"),)
    return record(
        point(1, decision=Decision.HOLDS),
        point(2, 470.0, decision=Decision.HOLDS),
        point(4, 1900.0, answered_per_s=0.6, decision=Decision.DOES_NOT_HOLD, signs=full, saturated=True, refused=3),
        point(8, None, decision=Decision.INVALID, caller=caller(valid=False, reasons=("it was late",))),
        steps=tuple(search.steps),
        answer=search.answer("edge500"),
    )


def test_every_load_has_its_figures_beside_the_chart() -> None:
    """A row each; the knee, the saturated load and the invalid one in words; what is text stays text."""
    text = page.render_capacity_page([searched()])
    rows = re.findall(r'<tr class="(grey)?"><th scope="row">(\d) calls? at once', text.replace("1 calls", "1 call"))
    assert [number for _, number in rows] == ["1", "2", "4", "8"]
    assert [grey for grey, _ in rows] == ["", "", "", "grey"]
    assert text.count('role="img"') == 2  # wide and narrow
    full = "cores full: 99% of the time"
    for words in ("knee", "saturated", full, "it was late", "budget 500 ms", "3 of 60", "no p95"):
        assert words in text
    assert "by &lt;3&gt;" in text
    assert "by <3>" not in text
    assert "A &lt;processor&gt;" in text
    embedded = re.search(r'<script type="application/json" id="capacity-json">(.*?)</script>', text, re.DOTALL)
    assert embedded is not None
    assert len(json.loads(embedded[1])[0]["points"]) == 4
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_chart_is_told_in_words() -> None:
    """For those who do not see it: p95, its bound, invalid and saturated."""
    words = charts.describe_series(page.name_series([searched()]))
    assert "4 calls at once: p95 1,900 ms, at most 2,090, saturated" in words
    assert "8 calls at once: p95 – ms, at most –, invalid" in words


def test_phases_and_recovery_have_a_section() -> None:
    """Of a shape with several."""
    phases = tuple(
        PhaseFigures(
            name=name,
            calls=20,
            arrivals_per_s=1.0,
            under_way=UnderWay(mean=4.0, peak=9),
            gap_ms=latency(p95),
            refused=0,
        )
        for name, p95 in (("before", 450.0), ("spike", 2500.0), ("after", 470.0))
    )
    recovery = Recovery(after="spike", limit_ms=500.0, calls=5, seconds=7.25, worst_ms=3100.0)
    text = page.render_capacity_page(
        [record(point(4, phases=phases, recovery=recovery), shape=shapes.load_shape("spike"), judged=False)]
    )
    assert "After spike the agent answered as before within 7.2 s" in text
    assert "drawn and not judged" in text
    assert text.count('<th scope="row">spike') == 1


def test_an_empty_and_an_unfinished_run_can_be_rendered() -> None:
    """Nothing was measured: the page says so."""
    text = page.render_capacity_page([record(complete=False, errors=("the agent died",), sentence="Nothing.")])
    for words in ("UNFINISHED", "the agent died", "No point was measured", "Nothing was measured"):
        assert words in text
    none = LatencyFigures(n=0, p50=None, p95=None, p95_upper=None, p99=None, max=None)
    assert "–" in page.render_capacity_page([record(point(1, gap_ms=none, arrivals_per_s=None, answered_per_s=None))])


def write(path: Path, made: folder.CapacityRecord) -> Path:
    path.mkdir()
    folder.write_capacity(path, made)
    return path


def test_several_machines_are_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`turngap capacity --compare` and `turngap compare`: one page, one chart, named by what tells them apart."""
    one = write(tmp_path / "one", searched())
    other = write(tmp_path / "other", record(point(2, 300.0), point(4, 320.0), machine={"host": "two"}))
    out = tmp_path / "both.html"
    assert app.execute(["capacity", "--compare", str(one), "--compare", str(other), "--out", str(out)]) == 0
    text = out.read_text()
    assert "cpu on one" in text
    assert "cpu on two" in text
    assert text.count("4 calls at once</th>") + text.count("4 calls at once<small>") >= 2
    printed = capsys.readouterr().out
    assert "cpu on two:" in printed
    assert f"report: {out}" in printed.replace("\n", "")
    assert app.execute(["report", str(one), "--baseline", str(other), "--out", str(out)]) == 0
    assert "cpu on two" in out.read_text()


def test_runs_of_two_kinds_are_not_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Loads in calls and in calls a second, or two times, would be on one axis: one line, and no page."""
    one = write(tmp_path / "one", searched())
    rates = write(tmp_path / "rates", record(point(2), by_rate=True))
    perceived = write(tmp_path / "perceived", record(point(2), metric="perceived_gap_ms"))
    out = tmp_path / "both.html"
    for other, words in ((rates, "calls a second"), (perceived, "perceived_gap_ms")):
        assert app.execute(["capacity", "--compare", str(one), "--compare", str(other), "--out", str(out)]) == 3
        printed = capsys.readouterr()
        assert words in printed.err
        assert printed.out == ""
    assert not out.exists()


def test_what_is_no_capacity_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the file that is missing."""
    one = write(tmp_path / "one", searched())
    with pytest.raises(RunFolderError, match="not a capacity folder"):
        folder.read_capacity(tmp_path)
    assert app.execute(["compare", str(one), str(tmp_path)]) == 3
    assert "capacity.json" in capsys.readouterr().err
    assert app.execute(["compare", str(one), str(one), "--fail-on-worse"]) == 3


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every field; a newer version is refused."""
    path = write(tmp_path / "one", searched())
    assert folder.read_capacity(path) == searched()
    assert folder.is_capacity(path)
    data = json.loads((path / folder.CAPACITY).read_text()) | {"schema_version": 99}
    (path / folder.CAPACITY).write_text(json.dumps(data))
    with pytest.raises(RunFolderError, match="newer"):
        folder.read_capacity(path)
