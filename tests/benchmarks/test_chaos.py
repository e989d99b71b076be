"""What the chaos benchmark promises of all rows, and that each of it can fail."""

import copy

import pytest

from benchmarks.chaos import judge

ROW = {
    "stage": "stt",
    "fault": "raise",
    "heard": ["apology", "answer"],
    "longest_silence_ms": 900.0,
    "neighbour": {"median_gap_ms": 100.0},
    "next_call": "answer",
    "survived": True,
}
DOCUMENT = {"injected": 3, "survived": 3, "lost": 0, "gap_alone_ms": 98.0, "rows": [ROW, ROW, ROW]}


def broken(document) -> list[str]:
    return [promise.promise for promise in judge(document) if promise.holds is False]


def test_a_run_without_a_loss_holds_all_promises():
    """And the longest silence is printed."""
    assert broken(DOCUMENT) == []
    assert "900 ms" in [promise.figure for promise in judge(DOCUMENT)]


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("heard", ["answer", "nothing"], "speech or a polite end"),
        ("heard", [], "speech or a polite end"),
        ("longest_silence_ms", 5001.0, "silence of over 5 s"),
        ("next_call", "nothing", "next calls"),
        ("neighbour", {"median_gap_ms": 300.0}, "neighbours'"),
    ],
)
def test_each_promise_can_fail(key, value, part):
    """By the rows that it is about."""
    document = copy.deepcopy(DOCUMENT)
    document["rows"] = [{**ROW, key: value}] * 3
    (promise,) = broken(document)
    assert part in promise


def test_lost_rows_are_counted_by_stage_and_fault():
    """So that it is seen at once which kind is lost."""
    document = {**DOCUMENT, "survived": 2, "lost": 1, "rows": [ROW, ROW, {**ROW, "survived": False}]}
    assert broken(document) == ["survived"]
    assert [promise.promise for promise in judge(document) if promise.holds is None] == [
        "longest silence",
        "lost: stt raise",
    ]


def test_no_row_is_no_promise_kept():
    """A run that injected nothing shows nothing."""
    assert len(broken({**DOCUMENT, "injected": 0, "survived": 0, "rows": []})) == 3


def test_neighbours_of_a_killed_process_may_wait_for_the_next():
    """That is promised: their gap is no harm. Of other faults it is."""
    waited = {**ROW, "fault": "kill", "neighbour": {"median_gap_ms": 900.0}}
    assert broken({**DOCUMENT, "rows": [waited] * 3}) == []
    assert broken({**DOCUMENT, "rows": [waited, {**waited, "fault": "raise"}, ROW]}) != []
