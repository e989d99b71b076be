"""Budgets are data: known metrics only, faults named with file and line, shipped ones readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.verdict import budget
from turngap_agent import documents
from turngap_agent.errors import ScenarioError
from turngap_agent.tracing import Stage


def parse(text: str) -> budget.Budget:
    return documents.parse(text, "b.yaml", budget.Budget, ScenarioError)


@pytest.mark.parametrize("name", ["edge500", "edge500-audio", "sub500"])
def test_shipped_budgets_load(name: str) -> None:
    """The budgets that ship gate a p95 at 500 ms."""
    loaded = budget.load_budget(name)
    assert loaded.name == name
    assert loaded.limits[0].at_most == 500
    assert loaded.limits[0].is_latency


def test_sub500_states_the_plan_and_its_network() -> None:
    """The plan's lines stand in sub500, endpointing among them, with the network model beside."""
    loaded = budget.load_budget("sub500")
    assert loaded.network is not None
    assert loaded.network.preset == "twilio-edge"
    assert (sum(h.low_ms for h in loaded.hypotheses), sum(h.high_ms for h in loaded.hypotheses)) == (410, 730)
    assert any(Stage.ENDPOINTING in line.stages for line in loaded.hypotheses)


def test_every_stage_belongs_to_one_line_of_the_plan() -> None:
    """No stage's time is counted under two lines, and only the unexplained rest under none."""
    stages = [stage for line in budget.load_budget("sub500").hypotheses for stage in line.stages]
    assert sorted(stages) == sorted(set(Stage) - {Stage.UNEXPLAINED})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: b\nlimits:\n- {metric: turn_gap, at_most: 1}", "b.yaml:3: .*did you mean `turn_gap_ms`"),
        ("name: b\nlimits:\n- {metric: stages.encodin, at_most: 1}", "did you mean `stages.encoding`"),
        ("name: b\nlimits: []", "b.yaml:2: `limits`"),
        ("name: b\nlimits:\n- {metric: wer, at_most: -1}", "`limits.0.at_most` .*at least 0, not -1"),
        ("name: b\nlimits:\n- {metric: wer, at_most: .nan}", "b.yaml:3"),
        ("name: b\nlimits:\n- {metric: wer, at_most: 5}", r"b.yaml:3: `limits.0.at_most`: wer .*5 % is 0.05"),
        ("name: b\nlimits:\n- {metric: wer_noisy, at_most: 1}", r"b.yaml:3: .*wer_noisy is a share"),
        ("name: b\nlimits:\n- {metric: wasted_share, at_most: 50}", r"b.yaml:3: .*50 % is 0.5"),
        ("name: b\nlimits:\n- {metric: cut_off_rate, at_most: 5}", r"b.yaml:3: .*5 % is 0.05"),
        ("name: b\nlimits:\n- {metric: turn_gap_ms, at_most: .inf}", "b.yaml:3: `limits.0.at_most` .*finite"),
        ("name: b\nlimits:\n- {metric: vram_peak_mib, at_most: 0}", "b.yaml:3: `limits.0.at_most`: .*at_most > 0"),
        (
            "name: b\nlimits:\n- {metric: wer, at_most: 0.05, quantile: 0.9}",
            "b.yaml:3: `limits.0.quantile`: only times have a `quantile`, wer",
        ),
        (
            "name: b\nlimits:\n- {metric: cut_off_rate, at_most: 5, quantile: 0.9}",
            "5 % is 0.05.; only times have a `quantile`",
        ),
        ("name: b\nlimits:\n- {metric: cut_off_rate, at_most: 0}", "can't be shown"),
        (
            "name: b\nlimit:\n- {metric: wer, at_most: 1}",
            "unknown key `limit`; did you mean `limits`|`limits` is missing",
        ),
        ("", "the file is empty"),
        (
            "name: b\nlimits:\n- {metric: wer, at_most: 0.1}\n- {metric: wer, at_most: 0.2}",
            "`wer` is limited twice",
        ),
    ],
)
def test_faults_are_named(text: str, message: str) -> None:
    """A malformed budget is one line that says where and what."""
    with pytest.raises(ScenarioError, match=message):
        parse(text)


@pytest.mark.parametrize("name", ["edge500", "edge500-audio", "sub500"])
def test_a_budget_in_a_saved_run_is_read_again(name: str) -> None:
    """`run.json` has the default quantile in every limit, in those on rates too."""
    loaded = budget.load_budget(name)
    assert budget.Budget.model_validate(loaded.model_dump(mode="json")) == loaded


def test_unknown_budget_lists_the_known(tmp_path: Path) -> None:
    """An unknown name lists what there is; a missing file is named."""
    with pytest.raises(ScenarioError, match="edge500, edge500-audio, sub500"):
        budget.load_budget("sub5000")
    with pytest.raises(ScenarioError, match="no such file"):
        budget.load_budget(str(tmp_path / "mine.yaml"))
