"""Nodes with another version, source or scenario are refused in one line; a scenario that is not there is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.cluster.identity import check_installations, describe_installation
from turngap_agent.errors import UsageError

HERE = {"python": "3.11.7", "turngap": "0.1.0", "source of turngap": "aa", "scenario mine.scenario.yaml": "11"}


def test_an_installation_names_versions_source_and_scenario(tmp_path: Path) -> None:
    """The same on one machine; the scenario by its content."""
    scenario = tmp_path / "mine.scenario.yaml"
    scenario.write_text("name: mine")
    found = describe_installation(scenario)
    assert found == describe_installation(scenario)
    assert {"python", "turngap", "numpy", "source of turngap", "source of turngap_agent"} <= set(found)
    scenario.write_text("name: other")
    changed = describe_installation(scenario)
    assert [name for name in found if found[name] != changed[name]] == ["scenario mine.scenario.yaml"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"turngap": "0.2.0"}, "node b has turngap 0.2.0, not 0.1.0"),
        ({"source of turngap": "bb"}, "node b has source of turngap bb, not aa"),
        ({"scenario mine.scenario.yaml": "22"}, "node b has scenario mine.scenario.yaml 22, not 11"),
        ({"turngap": "absent"}, "node b has no turngap, not 0.1.0"),
    ],
)
def test_a_node_that_differs_is_refused(changed: dict[str, str], message: str) -> None:
    """One line: what differs where, and what to do; nothing is placed."""
    with pytest.raises(UsageError) as refusal:
        check_installations(HERE, {"node a": HERE, "node b": {**HERE, **changed}})
    assert message in str(refusal.value)
    assert "nothing was placed" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert refusal.value.code == "usage.nodes"


def test_a_scenario_that_a_node_does_not_have_is_sent_to_it() -> None:
    """So it is no difference."""
    check_installations(HERE, {"node b": {name: value for name, value in HERE.items() if "scenario" not in name}})
