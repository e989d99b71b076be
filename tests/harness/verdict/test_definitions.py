"""Runs measured by different definitions of t0 and t1 are told apart."""

from __future__ import annotations

import json

from turngap.model.result import DEFINITIONS, RunRecord
from turngap.verdict.comparison.runs import describe_differences

from tests.harness import report_builders


def test_a_comparison_says_that_t0_and_t1_are_defined_differently() -> None:
    """An older run has no version in its file, loads as version 1, and is written again as it was."""
    old = report_builders.run_record(report_builders.turns(20)).model_copy(update={"definitions": 1})
    data = json.loads(old.model_dump_json())
    assert "definitions" not in data
    assert RunRecord.model_validate(data).definitions == 1
    new = old.model_copy(update={"definitions": DEFINITIONS})
    assert json.loads(new.model_dump_json())["definitions"] == DEFINITIONS
    assert describe_differences(old, old) == describe_differences(new, new)
    (line,) = set(describe_differences(new, old)) - set(describe_differences(old, old))
    assert "t0 and t1" in line
